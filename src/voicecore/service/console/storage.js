/** Small choices kept between visits. A browser may forbid storage: then none are. */

const PREFIX = 'voicecore.';

export function recall(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** Keep `value`; '' or null forgets. */
export function remember(key, value) {
  try {
    if (value) localStorage.setItem(PREFIX + key, value);
    else localStorage.removeItem(PREFIX + key);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}
