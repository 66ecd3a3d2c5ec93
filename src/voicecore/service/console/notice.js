/** One notice at a time: what went wrong, what to do, and perhaps a button for it. */

import { byId, make } from './dom.js';

let timer = 0;

/** Take the notice away and stop its countdown. */
export function clearNotice() {
  clearInterval(timer);
  const box = byId('notice');
  box.hidden = true;
  box.replaceChildren();
}

/**
 * Show a problem.
 *
 * @param {{code: string, title: string, advice: string}} problem
 * @param {{label: string, act: () => void}|null} button
 */
export function showNotice(problem, button = null) {
  clearNotice();
  const box = byId('notice');
  box.dataset.code = problem.code;
  const actions = make('div.actions', {});
  const add = (label, act) => {
    const element = make('button', { type: 'button' }, label);
    element.addEventListener('click', () => {
      clearNotice();
      act();
    });
    actions.append(element);
  };
  if (button) add(button.label, button.act);
  add('Dismiss', () => {});
  const advice = make('p', {}, problem.advice);
  box.append(make('h2', {}, problem.title), advice, actions);
  box.hidden = false;
}

/** The same with a countdown, after which `act` happens by itself. */
export function showCountdown(problem, seconds, act) {
  showNotice(problem, { label: 'Try now', act });
  // Only the first figure is read aloud: the box is an alert, the rest is not.
  const line = make('p.countdown', { 'aria-live': 'off' });
  byId('notice').querySelector('.actions').before(line);
  let left = Math.max(1, Math.ceil(seconds));
  const tick = () => {
    line.textContent = `Trying again in ${left} s`;
    if (left <= 0) {
      clearNotice();
      act();
    }
    left -= 1;
  };
  tick();
  timer = setInterval(tick, 1000);
}
