/**
 * The key that a server may ask for. It is kept as long as the tab is, and sent to
 * nobody but the server of this page.
 */

import { byId } from './dom.js';

const NAME = 'voicecore.key';
const ASKING = new Set(['key_missing', 'wrong_key', 'token_expired']);

let forNow = '';

/** The key given in this tab, or ''. */
export function givenKey() {
  try {
    return sessionStorage.getItem(NAME) ?? forNow;
  } catch {
    return forNow;
  }
}

function keep(key) {
  // Where a browser keeps nothing, it lasts as long as the page.
  forNow = key;
  try {
    if (key) sessionStorage.setItem(NAME, key);
    else sessionStorage.removeItem(NAME);
  } catch {
    // forNow has it.
  }
}

/** Whether a key is what the problem `code` wants. */
export const wantsKey = (code) => ASKING.has(code);

/**
 * Ask for a key; `act` is called once one was given.
 *
 * @param {{title: string, advice: string}} why
 */
export function askForKey(why, act) {
  keep('');
  const dialog = byId('access');
  const input = byId('access-key');
  byId('access-title').textContent = why.title;
  byId('access-advice').textContent = why.advice;
  input.value = '';
  dialog.returnValue = '';
  const form = byId('access-form');
  form.onsubmit = (event) => {
    event.preventDefault();
    const key = input.value.trim();
    // A header holds visible ASCII; anything else was pasted along by mistake.
    const fits = /^[\x21-\x7e]+$/.test(key);
    input.setCustomValidity(fits ? '' : 'A key has no blanks, accents or quotation marks.');
    if (!form.reportValidity()) return;
    keep(key);
    input.value = '';
    dialog.close();
    act();
  };
  input.oninput = () => input.setCustomValidity('');
  byId('access-cancel').onclick = () => dialog.close();
  if (!dialog.open) dialog.showModal();
  input.focus();
}
