/**
 * The data channel, decoded: JSON text in, checked events out.
 *
 * Each message is checked against the shape documented in docs/events.md before
 * anyone sees it, so that the rest of the page may trust its fields. Messages of
 * an unknown type are ignored: a newer server may say more than this page knows.
 *
 * `receive` is the one entrance. A test plays a conversation without a call:
 *
 *     const events = await import('./events.js');
 *     events.receive({ type: 'transcript', t_ms: 900, turn: 1, text: 'hello', final: true });
 */

const text = (value) => typeof value === 'string';
const number = (value) => Number.isFinite(value);
const flag = (value) => typeof value === 'boolean';
const object = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const turn = (value) => Number.isInteger(value) && value >= 0;
const moment = (value) => value === null || value === undefined || number(value);
const perhaps = (value) => value === undefined || flag(value);

/** Required fields of each type; further fields are let through. */
const SHAPES = {
  hello: {
    session_id: text,
    version: text,
    engines: object,
    silence_ms: number,
    recorded: perhaps,
  },
  state: { state: text },
  transcript: { turn, text, final: flag },
  agent: { turn, text },
  heard: { turn, chars: number },
  agent_done: { turn, text, heard: text, unheard: text, interrupted: flag },
  barge_in: { turn },
  latency: {
    turn,
    endpoint_ms: moment,
    stt_ms: moment,
    llm_ms: moment,
    tts_ms: moment,
    packet_ms: moment,
  },
  error: { code: text, message: text },
  bye: { reason: text },
};

/** A message that breaks the documented shape; `message` says which field. */
export class EventError extends Error {
  name = 'EventError';
}

/**
 * Check one message.
 *
 * @param {string|object} message JSON text as it came, or the object itself
 * @returns {object|null} the event, or null for a type this page does not know
 * @throws {EventError} for broken JSON, a missing field or one of a wrong kind
 */
export function decode(message) {
  let event = message;
  if (typeof message === 'string') {
    try {
      event = JSON.parse(message);
    } catch {
      throw new EventError('not JSON');
    }
  }
  if (!object(event) || !text(event.type)) throw new EventError('no type');
  if (!Object.hasOwn(SHAPES, event.type)) return null;
  if (!number(event.t_ms)) throw new EventError(`${event.type}: bad t_ms`);
  for (const [field, fits] of Object.entries(SHAPES[event.type])) {
    if (!fits(event[field])) throw new EventError(`${event.type}: bad ${field}`);
  }
  return event;
}

const listeners = new Set();

/** Call `listener(event)` for every good event; returns the way to stop. */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Take one message from the server and hand it on.
 *
 * @param {string|object} message
 * @returns {boolean} whether it was understood
 */
export function receive(message) {
  let event;
  try {
    event = decode(message);
  } catch (fault) {
    if (!(fault instanceof EventError)) throw fault;
    console.warn('voicecore: message ignored:', fault.message);
    return false;
  }
  if (event === null) return false;
  for (const listener of listeners) listener(event);
  return true;
}
