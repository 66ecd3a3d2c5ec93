/**
 * The latency strip: where the time went between the caller's last sound and
 * the first packet of the answer.
 *
 *     end of speech ─ endpoint ─ STT final ─ first token ─ first audio ─ first packet
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
 * Moments turned into stages.
 *
 * A moment that is missing gives no stage; one before its predecessor (a
 * transcript may be ready before the endpoint) gives a stage of no length.
 *
 * @returns {{key: string, name: string, ms: number}[]}
 */
export function segments(latency) {
  let from = 0;
  const result = [];
  for (const { key, name } of STAGES) {
    if (latency[key] === null) continue;
    const to = Math.max(from, latency[key]);
    result.push({ key, name, ms: to - from });
    from = to;
  }
  return result;
}

/** From the end of speech to the last known moment, in ms. */
export function total(latency) {
  return segments(latency).reduce((sum, { ms }) => sum + ms, 0);
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

/** One turn's strip. */
export function strip(latency) {
  const parts = segments(latency);
  const sum = total(latency);
  const spoken = parts.map(({ name, ms }) => `${name} ${Math.round(ms)} ms`).join(', ');
  const bar = make('div.bar', { 'aria-hidden': 'true' });
  const figures = make('div.figures', { 'aria-hidden': 'true' });
  for (const { key, name, ms } of parts) {
    const piece = make('span.part', { 'data-stage': key, title: `${name}: ${Math.round(ms)} ms` });
    piece.style.setProperty('--ms', ms);
    bar.append(piece);
    figures.append(
      make('span.figure', { 'data-stage': key, title: name }, String(Math.round(ms))),
    );
  }
  bar.style.setProperty('--total', sum);
  const all = make('span.total', { title: 'End of your speech to the first packet' });
  all.append(make('b', {}, String(Math.round(sum))), ' ms');
  const label = `Answered after ${Math.round(sum)} ms: ${spoken}`;
  return make('div.latency', { role: 'img', 'aria-label': label }, bar, all, figures);
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
    'and the one at the right is their sum: how long you waited, less the way through the network.';
  details.append(summary, list, note);
}
