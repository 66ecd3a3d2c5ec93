/** Wires the page together: the buttons, the one call at a time, the model. */

import { askForKey, wantsKey } from './access.js';
import { Call } from './call.js';
import { mountDetails, setConnection } from './details.js';
import { byId } from './dom.js';
import { receive, subscribe } from './events.js';
import { mountKeys } from './keys.js';
import * as levels from './levels.js';
import { resume } from './meters.js';
import { mountMicrophones, refreshMicrophones } from './microphones.js';
import { remoteAudio, watch } from './network.js';
import { clearNotice, showCountdown, showNotice } from './notice.js';
import { PlayoutReport } from './playout.js';
import { farewell, problem } from './problems.js';
import * as state from './state.js';
import { mountStatus, setStart } from './status.js';
import { bindToggle } from './theme.js';
import { mountTranscript } from './transcript.js';

/** After so many refusals in a row the caller is asked rather than retried for. */
const RETRIES = 5;

let call = null;
let refusals = 0;
let goodbye = '';
let stopWatching = () => {};

function hooks() {
  return {
    onStep: (text) => state.setPhase('connecting', text),
    onMicrophone,
    onRemote,
    onMessage: receive,
    onConnection: setConnection,
    onConnected,
    onReconnecting: state.setReconnecting,
    onEnd,
  };
}

function onMicrophone(stream) {
  levels.caller.attach(stream);
  if (stream) refreshMicrophones();
  else report(problem('mic_lost'));
}

function onRemote(stream) {
  const remote = byId('remote');
  remote.srcObject = stream;
  levels.agent.attach(stream);
  remote.play().catch((fault) => {
    // Replaced by a newer stream or a hang-up: nothing is held back.
    if (fault.name !== 'NotAllowedError') return;
    showNotice(problem('sound_held'), { label: 'Play the sound', act: () => remote.play() });
  });
}

function onConnected() {
  refusals = 0;
  setStart(performance.now());
  const playout = new PlayoutReport();
  stopWatching = watch(call.pc, (network) => {
    state.setNetwork(network);
    call?.received(network.received);
    const message = playout.take(network.buffer, performance.now());
    if (message) call?.tell(message);
  });
  // The server's own state may have come first over the data channel.
  if (state.model.phase === 'connecting') state.setPhase('listening');
}

function onEnd(why) {
  call = null;
  stopWatching();
  setStart(null);
  levels.caller.attach(null);
  levels.agent.attach(null);
  byId('remote').srcObject = null;
  state.setNetwork(null);
  state.setReconnecting(false);
  if (why && !goodbye) {
    report(why);
    state.setPhase('failed', why.title);
  } else {
    state.setPhase('idle', goodbye || 'Call ended. Call again when you like.');
  }
}

function report(why) {
  state.addError(why.code, why.title);
  if (wantsKey(why.code)) {
    askForKey(why, startCall);
    return;
  }
  const again = { label: 'Call again', act: startCall };
  if (why.retryAfterS && refusals < RETRIES) {
    refusals += 1;
    showCountdown(why, why.retryAfterS, startCall);
  } else {
    showNotice(why, why.code === 'mic_lost' ? null : again);
  }
}

function startCall() {
  if (call) return;
  resume();
  clearNotice();
  goodbye = '';
  state.reset();
  state.setMuted(false);
  state.setPhase('connecting');
  setConnection('new');
  call = new Call(hooks());
  call.start();
}

function hangUp() {
  clearNotice();
  refusals = 0;
  call?.end();
}

function toggleMute() {
  if (!call) return;
  state.setMuted(!state.model.muted);
  call.setMuted(state.model.muted);
}

async function changeMicrophone() {
  try {
    await call?.changeMicrophone();
    if (call) clearNotice();
  } catch (fault) {
    if (fault.problem) report(fault.problem);
  }
}

/** Events the model does not keep: the end of the call and faults to be shown. */
function onEvent(event) {
  state.apply(event);
  if (event.type === 'bye') {
    goodbye = farewell(event.reason);
    call?.end(null, { told: true });
  } else if (event.type === 'error') {
    showNotice({ code: event.code, title: 'The agent had a problem', advice: event.message });
  }
}

/** For tests and the curious: copies, so that nothing outside can change the page. */
function expose() {
  const view = {
    get state() {
      return state.model.phase;
    },
    get reconnecting() {
      return state.model.reconnecting;
    },
    get turns() {
      return structuredClone(state.model.turns);
    },
    get errors() {
      return structuredClone(state.model.errors);
    },
    remoteStats: () => remoteAudio(call?.pc),
  };
  Object.defineProperty(window, 'voicecore', { value: Object.freeze(view) });
}

function mount() {
  mountStatus();
  mountTranscript();
  mountDetails();
  levels.mountLevels();
  mountMicrophones(changeMicrophone);
  mountKeys({ call: startCall, hangUp, mute: toggleMute });
  bindToggle(byId('theme'));
  byId('call').addEventListener('click', startCall);
  byId('hangup').addEventListener('click', hangUp);
  byId('mute').addEventListener('click', toggleMute);
  subscribe(onEvent);
  for (const touch of ['pointerdown', 'keydown']) addEventListener(touch, resume);
  addEventListener('pagehide', () => call?.end(null, { leaving: true }));
  expose();
  if (new URLSearchParams(location.search).get('autocall') === '1') startCall();
}

mount();
