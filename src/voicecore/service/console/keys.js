/** The keyboard: Space or Enter calls, Esc hangs up, M mutes. */

const TAKEN = 'button, a, input, select, textarea, summary, dialog, [contenteditable]';

/** @param {{call: () => void, hangUp: () => void, mute: () => void}} actions */
export function mountKeys({ call, hangUp, mute }) {
  addEventListener('keydown', (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    // An open dialog has Esc for itself.
    if (document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') {
      // A list that is open closes on Esc; that is not a wish to hang up.
      if (event.target.closest?.('select')) return;
      hangUp();
      return;
    }
    if (event.target.closest?.(TAKEN)) return;
    if (event.key === ' ' || event.key === 'Enter') {
      event.preventDefault();
      call();
    } else if (event.key.toLowerCase() === 'm') {
      mute();
    }
  });
}
