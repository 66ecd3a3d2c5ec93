/** Dark or light: the system's wish, until the reader turns it over. */

import { recall, remember } from './storage.js';

const KEY = 'theme';
const system = matchMedia('(prefers-color-scheme: dark)');
const changed = new EventTarget();

function current() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ?? (system.matches ? 'dark' : 'light');
}

function show(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  changed.dispatchEvent(new Event('change'));
}

/** Turn it over. Back at the system's own wish, the choice is forgotten. */
function toggle() {
  const next = current() === 'dark' ? 'light' : 'dark';
  const chosen = next === (system.matches ? 'dark' : 'light') ? null : next;
  remember(KEY, chosen);
  show(chosen);
}

/** Call `listener` whenever colours may have changed. */
export function onThemeChange(listener) {
  changed.addEventListener('change', listener);
}

/** Give `button` the toggle, and its label the theme it leads to. */
export function bindToggle(button) {
  const label = () => {
    button.setAttribute('aria-label', `Use the ${current() === 'dark' ? 'light' : 'dark'} theme`);
  };
  button.addEventListener('click', toggle);
  onThemeChange(label);
  label();
}

system.addEventListener('change', () => changed.dispatchEvent(new Event('change')));
const stored = recall(KEY);
if (stored === 'dark' || stored === 'light') show(stored);
