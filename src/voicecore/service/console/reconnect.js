/**
 * Brings a call back whose network changed: ICE restarts in the same session.
 *
 *     disconnected for 2 s, failed, or another network ─► restart ─► connected
 *                                             ▲              │ not within 8 s, or
 *                                             └─ 1, 2, 4 s ◄─┘ the server can't be asked
 *
 * The server keeps a call without its caller for 30 s, and longer while a restart is
 * under way (docs/signaling.md): past a minute there is nothing to come back to.
 */

const NOTICE_MS = 2000;
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
  #state = 'new';
  #timer = 0;
  #running = false;
  #stopped = false;
  #wake = () => {};

  /**
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
    this.#kind = navigator.connection?.type;
  }

  #kind;

  /** The peer connection's state changed, after it was connected once. */
  changed(state) {
    this.#state = state;
    clearTimeout(this.#timer);
    if (state === 'connected') this.#wake();
    else if (state === 'disconnected') this.#soon(NOTICE_MS);
    else if (state === 'failed') this.#soon(0);
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

  #soon(ms) {
    clearTimeout(this.#timer);
    if (!this.#running && !this.#stopped) this.#timer = setTimeout(() => this.#run(), ms);
  }

  async #run() {
    this.#running = true;
    const until = performance.now() + GIVE_UP_MS;
    if (this.#state !== 'connected') this.#tell(true);
    let outcome = 'later';
    for (let attempt = 0; !this.#stopped; attempt += 1) {
      outcome = await this.#restart();
      if (outcome === 'gone' || (outcome === 'sent' && (await this.#connected()))) break;
      if (performance.now() > until) break;
      await sleep(PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)]);
      if (this.#state === 'connected') break; // the old way came back by itself
    }
    this.#running = false;
    if (this.#stopped) return;
    if (this.#state === 'connected' && outcome !== 'gone') this.#tell(false);
    else this.#lost();
  }

  /** Whether the checks find a way within their time. */
  async #connected() {
    if (this.#state !== 'connected') {
      await Promise.race([sleep(CHECKS_MS), new Promise((wake) => (this.#wake = wake))]);
    }
    return this.#state === 'connected';
  }
}
