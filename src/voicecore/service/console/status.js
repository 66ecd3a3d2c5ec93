/** The state in words, the buttons that fit it, and the clock of the call. */

import { byId, clock, make } from './dom.js';
import { inCall, model, on } from './state.js';

const WORDS = {
  idle: ['Ready', 'Press Call or the space bar, then just speak.'],
  connecting: ['Connecting', ''],
  listening: ['Listening', 'Say something.'],
  hearing: ['You speak', 'Pause when you are done.'],
  thinking: ['Thinking', 'The answer is on its way.'],
  speaking: ['Speaking', 'Interrupt whenever you like.'],
  yielding: ['Giving way', 'It goes on if you don’t.'],
  failed: ['No call', ''],
};

let startedAt_ms = null;
let ticker = 0;

function tick() {
  byId('clock').textContent = startedAt_ms === null ? '' : clock(performance.now() - startedAt_ms);
}

const AWAY = ['Reconnecting', 'The network changed or is away. The call goes on when it is back.'];

function show() {
  const { phase, note, muted } = model;
  const away = inCall() && model.reconnecting;
  const [name, hint] = away ? AWAY : WORDS[phase];
  const talking = inCall();
  const state = byId('state');
  state.dataset.state = phase;
  state.toggleAttribute('data-reconnecting', away);
  document.documentElement.dataset.phase = phase;
  document.documentElement.toggleAttribute('data-incall', talking);
  byId('state-name').textContent = name;
  const silenced = talking && muted && phase !== 'connecting';
  byId('state-hint').textContent = away ? hint : silenced ? 'You are muted.' : note || hint;
  byId('call').hidden = talking;
  byId('hangup').hidden = !talking;
  byId('hangup-label').textContent = phase === 'connecting' ? 'Cancel' : 'Hang up';
  byId('mute').disabled = !talking;
  byId('mute').setAttribute('aria-pressed', String(muted));
  byId('mute-label').textContent = muted ? 'Unmute' : 'Mute';
  document.title = talking ? `${name} · voicecore` : 'voicecore';
}

/** Said as soon as the server says so, and until the call ends. */
function showRecorded() {
  const mark = byId('recorded');
  const recorded = inCall() && Boolean(model.hello?.recorded);
  if (recorded === mark.hasChildNodes()) return;
  // What comes into a status that stands already is read aloud; one that appears may not be.
  mark.replaceChildren(...(recorded ? [make('span', {}, 'This call is recorded')] : []));
}

/** Start the call's clock, or stop it with null. */
export function setStart(now_ms) {
  startedAt_ms = now_ms;
  clearInterval(ticker);
  if (now_ms !== null) ticker = setInterval(tick, 1000);
  tick();
}

export function mountStatus() {
  on('phase', show);
  for (const topic of ['phase', 'hello']) on(topic, showRecorded);
  show();
}
