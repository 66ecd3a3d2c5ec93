/**
 * What the browser's jitter buffer holds back of the agent's voice, told to the server.
 *
 * What was heard when the caller cut in is what had left that buffer: the server
 * sees its own packets only, so it is told (docs/events.md, "Client to server").
 */

const EVERY_MS = 2000;
const LEAST_CHANGE_MS = 10;
const MOST_MS = 5000;

/** Decides when there is something to tell. One for each call. */
export class PlayoutReport {
  #before = null;
  #askedAt_ms = -Infinity;
  #told_ms = null;

  /**
   * Take one reading: how long samples stayed in the buffer, summed in seconds, and
   * how many they were, as in RTCInboundRtpStreamStats.
   *
   * @param {{delay_s: number|undefined, emitted: number|undefined}} buffer
   * @returns {{type: 'playout', buffer_ms: number}|null} the message to send now
   */
  take({ delay_s, emitted }, now_ms) {
    if (!Number.isFinite(delay_s) || !Number.isFinite(emitted)) return null;
    if (now_ms - this.#askedAt_ms < EVERY_MS) return null;
    const before = this.#before;
    this.#before = { delay_s, emitted };
    this.#askedAt_ms = now_ms;
    const samples = before ? emitted - before.emitted : 0;
    // Nothing came out, or the browser began to count anew.
    if (samples <= 0 || delay_s < before.delay_s) return null;
    const mean_ms = ((delay_s - before.delay_s) / samples) * 1000;
    const buffer_ms = Math.min(MOST_MS, Math.round(mean_ms));
    if (this.#told_ms !== null && Math.abs(buffer_ms - this.#told_ms) <= LEAST_CHANGE_MS) return null;
    this.#told_ms = buffer_ms;
    return { type: 'playout', buffer_ms };
  }
}
