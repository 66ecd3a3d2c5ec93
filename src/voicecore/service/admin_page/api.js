/** The admin listener's routes. The browser shows the token itself (HTTP Basic). */

// Absolute, without the user's name that the page's own address may hold: fetch refuses that.
const base = new URL('/admin/', location.origin);

async function ask(path, options = {}) {
  const url = new URL(path, base);
  const reply = await fetch(url, { cache: 'no-store', ...options }).catch(() => {
    throw new Error('the server cannot be reached');
  });
  if (reply.ok) return reply.status === 204 ? null : reply.json();
  let message = `the server answered ${reply.status}`;
  try {
    message = (await reply.json()).error.message;
  } catch {
    // A proxy's page: its status says enough.
  }
  throw new Error(message);
}

/** Everything the page shows. */
export const overview = () => ask('sessions?format=json');

/** End a call. */
export const hangUp = (id) => ask(`sessions/${encodeURIComponent(id)}`, { method: 'DELETE' });

/** Begin to stop; `seconds` null: as the settings say. */
export const drain = (seconds) =>
  ask('drain', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(seconds === null ? {} : { timeout_s: seconds }),
  });
