/** The connection's figures and the About dialog. */

import { byId, make } from './dom.js';
import { inCall, model, on } from './state.js';

const ROLES = {
  s2s: 'Speech to speech',
  stt: 'Speech to text',
  llm: 'Language model',
  tts: 'Text to speech',
  vad: 'Voice activity',
  turn: 'Turn detection',
};

const CONNECTION = {
  new: ['wait', 'Connecting'],
  connecting: ['wait', 'Connecting'],
  connected: ['good', 'Connected'],
  disconnected: ['bad', 'Interrupted'],
  failed: ['bad', 'Lost'],
  closed: ['off', 'Not connected'],
};

let connection = 'closed';

const unit = (value, digits = 0) => (value === null ? '–' : `${value.toFixed(digits)} ms`);
const count = (value) => (value === null ? '–' : String(value));

function pill() {
  const [mood, words] = CONNECTION[connection] ?? CONNECTION.closed;
  const element = byId('connection');
  element.dataset.mood = mood;
  element.dataset.connection = connection;
  const rtt = model.network?.rttMs ?? null;
  byId('connection-word').textContent = words;
  byId('connection-rtt').textContent =
    connection === 'connected' && rtt !== null ? `${Math.round(rtt)} ms` : '';
}

function figures() {
  const network = model.network;
  const show = (id, value) => (byId(id).textContent = value);
  show('net-path', network?.path ?? '–');
  show('net-rtt', unit(network?.rttMs ?? null, network?.rttMs < 10 ? 1 : 0));
  show('net-jitter', unit(network?.jitterMs ?? null, 1));
  show('net-lost', network ? `${count(network.lostIn)} in · ${count(network.lostOut)} out` : '–');
  show('net-codec', network?.codec ?? '–');
  show('net-protocol', network?.protocol?.toUpperCase() ?? '–');
  pill();
}

/** Show a connectionState of the peer connection, or 'closed'. */
export function setConnection(state) {
  connection = state;
  pill();
}

function engines() {
  const list = byId('engines');
  const { hello } = model;
  if (!hello) {
    list.replaceChildren(make('p', {}, 'They are named here once a call is connected.'));
    return;
  }
  const rows = make('dl', {});
  const add = (name, value) => rows.append(make('dt', {}, name), make('dd', {}, String(value)));
  for (const [role, name] of Object.entries(hello.engines)) add(ROLES[role] ?? role, name);
  if (hello.recorded !== undefined) add('Recorded', hello.recorded ? 'yes' : 'no');
  add('Server', `voicecore ${hello.version}`);
  add('Session', hello.session_id);
  list.replaceChildren(rows);
}

/** The panel stands open where there is room; on a phone it lies over the page. */
function bindPanel() {
  const button = byId('connection');
  const panel = byId('network');
  const wide = matchMedia('(width >= 820px)');
  const open = (wanted) => {
    panel.toggleAttribute('data-open', wanted);
    button.setAttribute('aria-expanded', String(wanted));
  };
  button.addEventListener('click', () => open(!panel.hasAttribute('data-open')));
  wide.addEventListener('change', () => open(wide.matches));
  open(wide.matches);
}

export function mountDetails() {
  on('network', figures);
  on('hello', engines);
  on('phase', () => {
    if (!inCall()) setConnection('closed');
  });
  bindPanel();
  byId('about-open').addEventListener('click', () => byId('about').showModal());
  byId('about-close').addEventListener('click', () => byId('about').close());
  figures();
  engines();
}
