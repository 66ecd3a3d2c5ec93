/** Two helpers that keep the views short. Text is always set as text, never as HTML. */

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * Make an element.
 *
 * @param {string} spec tag and classes, as 'span.heard'
 * @param {object} attributes set with setAttribute; null ones are left out
 * @param {...(Node|string)} children
 */
export function make(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split('.');
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(' ');
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Milliseconds as m:ss. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
