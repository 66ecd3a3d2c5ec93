/**
 * Brings a call back whose network changed: ICE restarts in the same session.
 *
 *     deaf for 3 s, disconnected for 2 s, failed, or another network
 *        ─► restart ─► well
 *              ▲       │ not within 8 s, or the server can't be asked
 *              └─ 1, 2, 4 s
 *
 * Well is who is connected and hears packets: the server sends some all the time, and
 * browsers take up to ten seconds to say that none come. It keeps a call without its
 * caller for 30 s, and longer while a restart is under way (docs/signaling.md): past a
 * minute there is nothing to come back to.
 */

const NOTICE_MS = 2000;
/** Readings, one a second, without a new packet. */
const DEAF_READINGS = 3;
/** A new network has its addresses by then. */
const SETTLED_MS = 500;
const CHECKS_MS = 8000;
const GIVE_UP_MS = 60_000;
const PAUSES_MS = [1000, 2000, 4000];

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Reconnect {
  #restart;
  #tell;
  #lost;
  #state = 'connected';
  #packets = 0;
  #deaf = 0;
  #kind = navigator.connection?.type;
  #timer = 0;
  #running = false;
  #stopped = false;
  #wake = () => {};

  /**
   * For a call that is connected.
   *
   * @param {() => Promise<'sent'|'later'|'gone'>} restart makes one attempt: it was `sent`
   *   and its checks run, may do `later`, or the session is `gone`
   * @param {(reconnecting: boolean) => void} tell the caller waits for the way back, or has it
   * @param {() => void} lost once: there is none
   */
  constructor(restart, tell, lost) {
    this.#restart = restart;
    this.#tell = tell;
    this.#lost = lost;
    addEventListener('online', this.#onNetwork);
    navigator.connection?.addEventListener('change', this.#onNetwork);
  }

  /** The peer connection's state changed. */
  changed(state) {
    this.#state = state;
    clearTimeout(this.#timer);
    if (state === 'disconnected') this.#soon(NOTICE_MS);
    else if (state === 'failed') this.#soon(0);
    this.#look();
  }

  /** How many of the agent's packets have come; to be told each second. */
  received(packets) {
    this.#deaf = packets === this.#packets ? this.#deaf + 1 : 0;
    this.#packets = packets;
    if (packets > 0 && this.#deaf === DEAF_READINGS) this.#soon(0);
    this.#look();
  }

  /** The call is over. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    removeEventListener('online', this.#onNetwork);
    navigator.connection?.removeEventListener('change', this.#onNetwork);
    this.#wake();
  }

  // Also told for every new estimate of the bandwidth: another kind of network counts.
  #onNetwork = (event) => {
    const kind = navigator.connection?.type;
    const same = event.type === 'change' && kind === this.#kind;
    this.#kind = kind;
    if (!same) this.#soon(SETTLED_MS);
  };

  get #well() {
    return this.#state === 'connected' && this.#deaf < DEAF_READINGS;
  }

  #look() {
    if (this.#well) this.#wake();
  }

  #soon(ms) {
    clearTimeout(this.#timer);
    if (!this.#running && !this.#stopped) this.#timer = setTimeout(() => this.#run(), ms);
  }

  async #run() {
    this.#running = true;
    const until = performance.now() + GIVE_UP_MS;
    if (!this.#well) this.#tell(true);
    for (let attempt = 0; !this.#stopped; attempt += 1) {
      const outcome = await this.#restart();
      if (this.#stopped) return;
      if (outcome === 'gone' || performance.now() > until) {
        this.#lost();
        return;
      }
      const pause_ms = PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)];
      await this.#wellWithin(outcome === 'sent' ? CHECKS_MS : pause_ms);
      // The old way may have come back by itself, too.
      if (this.#well) break;
    }
    this.#running = false;
    if (!this.#stopped) this.#tell(false);
  }

  async #wellWithin(ms) {
    if (this.#well) return;
    await Promise.race([sleep(ms), new Promise((wake) => (this.#wake = wake))]);
  }
}
