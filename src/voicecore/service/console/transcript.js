/**
 * The conversation on the page, written like a script: who, when, what.
 *
 * The words of the agent come in three kinds: heard (normal), still to be heard
 * (dim), and cut off by the caller (struck through, after a mark). An answer that a
 * mere sound cut is not struck through: its rest is said, and stands, further down.
 */

import { byId, clock, make } from './dom.js';
import { fillLegend, median, rescale, strip, total } from './latency.js';
import { model, on } from './state.js';
import { excerpt } from './turns.js';

/** Of what is still to be heard, or never was, so much is shown. */
const EXCERPT_CHARS = 240;

/** As near to the end as this, new words pull the view along. */
const NEAR_PX = 80;

const views = new Map();
let list;
let scroller;
/** Whether the view is at the end and shall stay there. */
let following = true;

function newTurn(record) {
  const speaker = record.role === 'user' ? 'You' : 'Agent';
  const words = make('p.words', {});
  const head = make('header', {}, make('span.who', {}, speaker));
  head.append(make('time', {}, clock(record.at_ms)));
  const element = make(`li.turn.${record.role}`, { 'data-turn': record.turn }, head, words);
  return { element, words, strip: null, latency: null, unfolded: false };
}

function userWords(record) {
  // A turn may end without words: a cough, or speech nobody could make out.
  if (record.final && !record.text) return [make('span.nothing', {}, 'nothing was understood')];
  return [make(record.final ? 'span.final' : 'span.partial', {}, record.text)];
}

function cutWords(record, view) {
  const hand = make('span.mark', {}, 'you interrupted');
  const rest = record.unheard.trim();
  if (!rest) return [hand];
  const hidden = make('span.visually-hidden', {}, ' Not heard: ');
  const [shown, left] = view.unfolded ? [rest, 0] : excerpt(rest, EXCERPT_CHARS);
  const parts = [hand, hidden, make('s.cut', {}, shown)];
  if (left) {
    const more = make('button.more', { type: 'button' }, `${left} more words`);
    more.addEventListener('click', () => {
      view.unfolded = true;
      render(record);
    });
    parts.push(more);
  }
  return parts;
}

function agentWords(record, view) {
  const { heard, unheard, interrupted, continued_in } = record;
  const parts = [make('span.heard', {}, heard)];
  if (continued_in !== null) {
    parts.push(' ', make('span.mark', {}, 'goes on below'));
  } else if (interrupted) {
    const cut = cutWords(record, view);
    if (heard.trim()) parts.push(' ');
    for (const part of cut) parts.push(part, ' ');
  } else if (unheard) {
    const gap = record.done && heard && !/\s$/.test(heard) && !/^\s/.test(unheard);
    if (gap) parts.push(' ');
    // A story written in a second is heard in a minute: the end of the page stays near the voice.
    const [ahead, left] = excerpt(unheard, EXCERPT_CHARS);
    parts.push(make('span.unheard', {}, left ? `${ahead} …` : ahead));
  }
  return parts;
}

function render(record) {
  let view = views.get(record);
  if (!view) {
    view = newTurn(record);
    const after = model.turns.slice(model.turns.indexOf(record) + 1).find((t) => views.has(t));
    list.insertBefore(view.element, after ? views.get(after).element : null);
    views.set(record, view);
  }
  const { element, words } = view;
  words.replaceChildren(...(record.role === 'user' ? userWords(record) : agentWords(record, view)));
  element.classList.toggle('interrupted', Boolean(record.interrupted));
  element.classList.toggle('continued', typeof record.continued_in === 'number');
  if (record.latency !== view.latency) {
    view.latency = record.latency;
    view.strip?.remove();
    view.strip = record.latency && strip(record.latency);
    if (view.strip) element.append(view.strip);
  }
}

/** Drop what the model has forgotten. */
function prune() {
  const kept = new Set(model.turns);
  for (const [record, view] of views) {
    if (kept.has(record)) continue;
    view.element.remove();
    views.delete(record);
  }
}

function summarise() {
  const latencies = model.turns.map((t) => t.latency).filter(Boolean);
  const answers = model.turns.filter((t) => t.role === 'agent');
  const cuts = answers.filter((t) => t.interrupted && t.continued_in === null).length;
  const parts = [];
  if (answers.length) parts.push(`${answers.length} answer${answers.length > 1 ? 's' : ''}`);
  if (cuts) parts.push(`${cuts} interruption${cuts > 1 ? 's' : ''}`);
  const middle = median(latencies.map(total));
  if (middle !== null) parts.push(`median ${Math.round(middle)} ms`);
  byId('summary').textContent = parts.join(' · ');
  byId('legend').hidden = latencies.length === 0;
  rescale(list, latencies);
}

/** Finished words, for screen readers: partial ones would never let them speak. */
function announce(record) {
  const finished = record.role === 'user' ? record.final : record.done;
  if (!finished || typeof record.continued_in === 'number') return;
  const who = record.role === 'user' ? 'You' : 'Agent';
  const said = record.role === 'user' ? record.text : record.heard;
  const end = record.interrupted ? ' You interrupted.' : '';
  const line = make('p', {}, `${who}: ${said}${end}`);
  byId('announcer').replaceChildren(line);
}

function near() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
}

function follow() {
  following = true;
  scroller.scrollTop = scroller.scrollHeight;
  byId('latest').hidden = true;
}

/** The reader scrolled: follow from now on, or offer the way back. */
function scrolled() {
  following = near();
  byId('latest').hidden = following;
}

function changed(record) {
  prune();
  if (record) {
    render(record);
    // A new answer takes over the strip its question carried until then.
    const twin = model.turns.find((t) => t.turn === record.turn && t.role !== record.role);
    if (twin && views.get(twin)?.latency !== twin.latency) render(twin);
    announce(record);
  }
  summarise();
  byId('empty').hidden = model.turns.length > 0;
  if (following) follow();
  else byId('latest').hidden = false;
}

/** Take over the conversation's part of the page. */
export function mountTranscript() {
  list = byId('turns');
  scroller = byId('scroller');
  fillLegend(byId('legend'));
  on('turn', changed);
  scroller.addEventListener('scroll', scrolled, { passive: true });
  new ResizeObserver(() => following && follow()).observe(scroller);
  byId('latest').addEventListener('click', follow);
}
