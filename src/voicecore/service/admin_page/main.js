/** The page of live calls: asks every two seconds while it is looked at. */

import { drain, hangUp, overview } from './api.js';
import { Rows } from './rows.js';

const PERIOD_MS = 2000;
const WORDS = { ready: 'Ready', not_ready: 'Not ready', full: 'Full', draining: 'Draining' };

const byId = (id) => document.getElementById(id);
const rows = new Rows(byId('rows'), async (id) => {
  try {
    await hangUp(id);
  } catch (error) {
    tell(`Hanging up failed: ${error.message}`);
  }
  await refresh();
});

let timer = 0;
let failures = 0;
let draining = false;
let trouble = '';

/** What went wrong of what the reader did; stands until something works. */
function tell(text) {
  trouble = text;
  byId('notice').textContent = text;
  byId('notice').hidden = !text;
}

const KINDS = { up: 'up', ready: 'up', down: 'down', silent: 'down', unknown: 'stage', absent: 'stage' };

/** What it is, its name, and its state in that state's colour. */
function chip(what, name, state, reason) {
  const item = document.createElement('li');
  const words = [['stage', `${what} `], ['', `${name} `]];
  words.push([KINDS[state] ?? 'other', reason ? `${state}: ${reason}` : state]);
  for (const [kind, text] of words) {
    const span = document.createElement('span');
    if (kind) span.className = kind;
    span.textContent = text;
    item.append(span);
  }
  return item;
}

function showChips(list, items) {
  list.hidden = items.length === 0;
  const text = items.map((item) => item.textContent).join('\n');
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(...items);
}

function show(seen) {
  document.body.classList.remove('stale');
  const { active, limit } = seen.calls;
  const left = seen.drain_left_s ? ` · ${Math.ceil(seen.drain_left_s)} s` : '';
  byId('status').textContent = (WORDS[seen.status] ?? seen.status) + left;
  byId('status').dataset.status = seen.status;
  byId('whose').textContent = [seen.instance, `voicecore ${seen.version}`].filter(Boolean).join(' · ');
  byId('active').textContent = active;
  byId('limit').textContent = `of ${limit}`;
  byId('share').value = limit ? active / limit : 0;
  byId('overload').textContent = seen.overload;
  byId('overload').dataset.level = seen.overload;
  showChips(byId('engines'), Object.entries(seen.engines).flatMap(([stage, of]) =>
    Object.entries(of).map(([name, { state, reason }]) => chip(stage, name, state, reason))));
  showChips(byId('workers'), (seen.workers ?? []).map(({ worker, calls, state }) =>
    chip(`worker ${worker}`, `${calls.active} of ${calls.limit}`, state)));
  const more = rows.show(seen.sessions);
  byId('none').hidden = seen.sessions.length > 0;
  byId('more').hidden = more <= 0;
  byId('more').textContent = `and ${more} more, which began later`;
  draining = seen.status === 'draining';
  byId('drain').disabled = draining;
  const why = trouble || seen.reasons.join('; ');
  byId('notice').textContent = why;
  byId('notice').hidden = !why;
}

async function refresh() {
  clearTimeout(timer);
  try {
    show(await overview());
    failures = 0;
  } catch (error) {
    failures += 1;
    document.body.classList.add('stale');
    byId('status').textContent = 'Not reachable';
    byId('status').dataset.status = 'away';
    const last = draining ? 'the server has stopped' : error.message;
    byId('notice').textContent = `What is shown is old: ${last}.`;
    byId('notice').hidden = false;
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, PERIOD_MS * Math.min(failures + 1, 5));
}

byId('drain').addEventListener('click', () => byId('ask').showModal());
byId('ask-no').addEventListener('click', () => byId('ask').close());
byId('ask-yes').addEventListener('click', async () => {
  const given = byId('timeout');
  if (!given.reportValidity()) return;
  byId('ask').close();
  try {
    await drain(given.value === '' ? null : Number(given.value));
    tell('');
  } catch (error) {
    tell(`Draining failed: ${error.message}`);
  }
  await refresh();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
refresh();
