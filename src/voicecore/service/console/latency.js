/**
 * The latency strip: where the time went between the caller's last sound and
 * the first packet of the answer.
 *
 *     end of speech ─ endpoint ─ STT final ─ first token ─ first audio ─ first packet
 *
 * An answer may be begun in the pause, before the turn counts as ended. What was
 * there that early took none of the wait; it is a tick inside the endpoint's stage:
 *
 *     end of speech ─ STT ' token ' audio ' ─ endpoint ─ first packet
 *
 * All strips share one scale, so that turns can be compared by eye.
 */

import { make } from './dom.js';

/** The stages in their order; `key` is the moment that ends the stage. */
export const STAGES = [
  {
    key: 'endpoint_ms',
    name: 'Endpoint',
    explain: 'Silence waited for, until your turn counted as ended.',
  },
  {
    key: 'stt_ms',
    name: 'Transcript',
    explain: 'From there until speech recognition gave its final text.',
  },
  {
    key: 'llm_ms',
    name: 'First token',
    explain: 'Until the language model wrote its first token.',
  },
  {
    key: 'tts_ms',
    name: 'First audio',
    explain: 'Until speech synthesis gave its first audio.',
  },
  {
    key: 'packet_ms',
    name: 'First packet',
    explain: 'Until the first packet of that audio was sent to you.',
  },
];

const SCALE_FLOOR_MS = 500;

/**
 * Moments turned into stages, and what was there before its stage could begin.
 *
 * A moment that is missing gives neither.
 *
 * @returns {{stages: {key: string, name: string, ms: number}[],
 *   early: {key: string, name: string, at_ms: number}[]}}
 */
export function segments(latency) {
  let from = 0;
  const [stages, early] = [[], []];
  for (const { key, name } of STAGES) {
    const at_ms = latency[key];
    if (at_ms === null) continue;
    if (at_ms < from) {
      early.push({ key, name, at_ms });
    } else {
      stages.push({ key, name, ms: at_ms - from });
      from = at_ms;
    }
  }
  return { stages, early };
}

/** Whether the model was asked before the turn counted as ended. */
function begunEarly(early) {
  return early.some(({ key }) => key === 'llm_ms');
}

/** From the end of speech to the last known moment, in ms. */
export function total(latency) {
  return segments(latency).stages.reduce((sum, { ms }) => sum + ms, 0);
}

/** The middle of `values`, or null for none. */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Give every strip inside `list` the scale of the slowest turn. */
export function rescale(list, latencies) {
  const slowest = Math.max(SCALE_FLOOR_MS, ...latencies.map(total));
  list.style.setProperty('--scale', slowest);
}

/** A coloured figure; `title` says what of. */
function figure(key, title, ms) {
  return make('span.figure', { 'data-stage': key, title }, String(Math.round(ms)));
}

/** What was done in the pause: a tick each in the bar, and a figure each. */
function addEarly(early, bar, figures) {
  if (early.length === 0) return;
  const what = begunEarly(early) ? 'answer begun in the pause, at' : 'in the pause, at';
  figures.append(make('span.note', {}, what));
  for (const { key, name, at_ms } of early) {
    const title = `${name}: after ${Math.round(at_ms)} ms, in the pause`;
    const tick = make('span.tick', { 'data-stage': key, title });
    tick.style.setProperty('--at', Math.max(0, at_ms));
    bar.append(tick);
    figures.append(figure(key, title, at_ms));
  }
}

/** The strip in words. */
function label(sum, stages, early) {
  const spoken = stages.map(({ name, ms }) => `${name} ${Math.round(ms)} ms`).join(', ');
  const before = early.map(({ name, at_ms }) => `${name} at ${Math.round(at_ms)} ms`).join(', ');
  const begun = begunEarly(early) ? 'Answer begun in the pause' : 'In the pause';
  return `Answered after ${Math.round(sum)} ms: ${spoken}${before && `. ${begun}: ${before}`}`;
}

/** One turn's strip. */
export function strip(latency) {
  const { stages, early } = segments(latency);
  const sum = total(latency);
  const bar = make('div.bar', { 'aria-hidden': 'true' });
  const figures = make('div.figures', { 'aria-hidden': 'true' });
  for (const { key, name, ms } of stages) {
    const piece = make('span.part', { 'data-stage': key, title: `${name}: ${Math.round(ms)} ms` });
    piece.style.setProperty('--ms', ms);
    bar.append(piece);
    figures.append(figure(key, name, ms));
  }
  addEarly(early, bar, figures);
  bar.style.setProperty('--total', sum);
  const all = make('span.total', { title: 'End of your speech to the first packet' });
  all.append(make('b', {}, String(Math.round(sum))), ' ms');
  const spoken = label(sum, stages, early);
  return make('div.latency', { role: 'img', 'aria-label': spoken }, bar, all, figures);
}

/** The legend: colours and names in one line, what they mean when opened. */
export function fillLegend(details) {
  const summary = make('summary', {}, make('span.visually-hidden', {}, 'Latency stages: '));
  const list = make('dl', {});
  for (const { key, name, explain } of STAGES) {
    summary.append(make('span.key', { 'data-stage': key }, name));
    list.append(make('dt', { 'data-stage': key }, name), make('dd', {}, explain));
  }
  summary.append(make('span.invitation', {}, 'What the colours mean'));
  const note = make('p', {});
  note.textContent =
    'A strip starts at the end of your speech. Its figures are the milliseconds each stage took, ' +
    'and the one at the right is their sum: how long you waited, less the way through the network. ' +
    'A tick inside the first stage is what was ready in the pause already: the answer was begun ' +
    'before your turn counted as ended, and kept back until then.';
  details.append(summary, list, note);
}
