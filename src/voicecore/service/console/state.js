/**
 * The page's one model, and who is told when it changes.
 *
 * Nothing here touches the DOM or the network. Views subscribe to a topic and
 * read the model; only the functions below change it.
 */

import { Turns } from './turns.js';

/**
 * Phases of the page. The five in the middle are the server's own states.
 *
 * idle -> connecting -> listening <-> hearing <-> thinking <-> speaking -> idle,
 * yielding beside the last two, and from any of them to failed.
 */
export const PHASES = [
  'idle',
  'connecting',
  'listening',
  'hearing',
  'thinking',
  'speaking',
  'yielding',
  'failed',
];

/** States the server may set; a word of a newer server changes nothing here. */
const SERVER_STATES = ['listening', 'hearing', 'thinking', 'speaking', 'yielding'];

const KEPT_ERRORS = 50;

const turns = new Turns();

/** Read-only to everyone but this file. */
export const model = {
  phase: 'idle',
  note: '',
  hello: null,
  muted: false,
  reconnecting: false,
  network: null,
  errors: [],
  get turns() {
    return turns.list;
  },
};

const topics = { phase: new Set(), turn: new Set(), network: new Set(), error: new Set() };
topics.hello = new Set();

/**
 * Be told of changes.
 *
 * @param {'phase'|'turn'|'network'|'error'|'hello'} topic
 * @param {(detail: any) => void} listener given the changed record for 'turn'
 *   (null when all were cleared) and the error for 'error'
 */
export function on(topic, listener) {
  topics[topic].add(listener);
}

function tell(topic, detail) {
  for (const listener of topics[topic]) listener(detail);
}

/** Whether a call is under way, from the press of the button to its end. */
export function inCall() {
  return model.phase !== 'idle' && model.phase !== 'failed';
}

/** Move to `phase`; `note` is a line for the reader, '' for the usual one. */
export function setPhase(phase, note = '') {
  if (!PHASES.includes(phase)) throw new RangeError(`no phase ${phase}`);
  if (phase === model.phase && note === model.note) return;
  model.phase = phase;
  model.note = note;
  tell('phase');
}

export function setMuted(muted) {
  model.muted = muted;
  tell('phase');
}

/** Whether the call waits for another way through the network; its phase stays. */
export function setReconnecting(reconnecting) {
  model.reconnecting = reconnecting;
  tell('phase');
}

/** What the statistics said a moment ago, or null when there is no call. */
export function setNetwork(network) {
  model.network = network;
  tell('network');
}

/** Note an error: {code, message}; the newest 50 are kept. */
export function addError(code, message) {
  const error = { code, message, at_ms: Math.round(performance.now()) };
  model.errors.push(error);
  if (model.errors.length > KEPT_ERRORS) model.errors.shift();
  tell('error', error);
}

/** Forget the last call, before a new one. */
export function reset() {
  turns.clear();
  model.hello = null;
  model.network = null;
  model.reconnecting = false;
  tell('turn', null);
  tell('hello');
  tell('network');
}

/** Apply one event of the data channel. */
export function apply(event) {
  if (event.type === 'hello') {
    model.hello = event;
    tell('hello');
  } else if (event.type === 'state') {
    if (SERVER_STATES.includes(event.state)) setPhase(event.state);
  } else if (event.type === 'error') {
    addError(event.code, event.message);
  } else {
    for (const record of turns.apply(event)) tell('turn', record);
  }
}
