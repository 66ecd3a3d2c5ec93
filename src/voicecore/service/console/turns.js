/**
 * What was said, turn by turn: events in, plain records out. No DOM here.
 *
 * A caller's and an agent's record of one turn share its number. Texts arrive
 * whole, never as deltas, so a later event simply replaces an earlier one.
 */

/** Records kept; beyond it the oldest goes, so a long call can't grow the page. */
export const LIMIT = 400;

const LATENCY_KEYS = ['endpoint_ms', 'stt_ms', 'llm_ms', 'tts_ms', 'packet_ms'];

/** The first `count` Unicode code points of `text`, and what follows them. */
export function splitAt(text, count) {
  const points = Array.from(text);
  return [points.slice(0, count).join(''), points.slice(count).join('')];
}

/**
 * The beginning of a long `text`, up to the end of a word, and how many words are left out.
 *
 * @returns {[string, number]} all of the text and 0, if it is hardly longer than `limit`
 */
export function excerpt(text, limit) {
  if (text.length <= limit * 1.25) return [text, 0];
  const end = text.lastIndexOf(' ', limit);
  const shown = text.slice(0, end > 0 ? end : limit);
  return [shown, text.slice(shown.length).trim().split(/\s+/).length];
}

export class Turns {
  #list = [];

  /** Oldest first; the records themselves, for reading only. */
  get list() {
    return this.#list;
  }

  clear() {
    this.#list = [];
  }

  /**
   * Apply one decoded event.
   *
   * @returns {object[]} the records that changed, or [] if it was none of ours
   */
  apply(event) {
    switch (event.type) {
      case 'transcript':
        return this.#transcript(event);
      case 'agent':
        return this.#agentText(event);
      case 'heard':
        return this.#heard(event);
      case 'agent_done':
        return this.#done(event);
      case 'barge_in':
        return this.#bargeIn(event);
      case 'latency':
        return this.#latency(event);
      default:
        return [];
    }
  }

  #find(role, number) {
    return this.#list.findLast((turn) => turn.role === role && turn.turn === number);
  }

  /** Add a record: the caller's words before the answer to them, whichever came first. */
  #add(record) {
    const twin = this.#list.findLastIndex((other) => other.turn === record.turn);
    if (record.role === 'user' && twin >= 0) this.#list.splice(twin, 0, record);
    else this.#list.push(record);
    if (this.#list.length > LIMIT) this.#list.shift();
    return record;
  }

  #agent(event) {
    const known = this.#find('agent', event.turn);
    if (known) return known;
    const record = this.#add({
      role: 'agent',
      turn: event.turn,
      at_ms: event.t_ms,
      text: '',
      heard: '',
      unheard: '',
      done: false,
      interrupted: false,
      continued_in: null,
      latency: null,
    });
    const asked = this.#find('user', event.turn);
    if (asked?.latency) {
      record.latency = asked.latency;
      asked.latency = null;
    }
    return record;
  }

  #transcript(event) {
    const record =
      this.#find('user', event.turn) ??
      this.#add({
        role: 'user',
        turn: event.turn,
        at_ms: event.t_ms,
        text: '',
        final: false,
        latency: null,
      });
    record.text = event.text;
    record.final = event.final;
    return [record];
  }

  #agentText(event) {
    const goesOn = this.#find('agent', event.turn) ? null : this.#cutBefore(event);
    const record = this.#agent(event);
    if (record.done) return [];
    const count = Array.from(record.heard).length;
    record.text = event.text;
    [record.heard, record.unheard] = splitAt(event.text, count);
    if (!goesOn) return [record];
    goesOn.continued_in = event.turn;
    return [goesOn, record];
  }

  /** The answer whose unheard rest `event` begins to say: it was cut by a mere sound. */
  #cutBefore({ text }) {
    const last = this.#list.findLast((turn) => turn.role === 'agent');
    const rest = last?.done && last.interrupted ? last.unheard.trim() : '';
    return rest && rest === text.trim() ? last : null;
  }

  #heard(event) {
    const record = this.#find('agent', event.turn);
    if (!record || record.done) return [];
    [record.heard, record.unheard] = splitAt(record.text, Math.max(0, event.chars));
    return [record];
  }

  #done(event) {
    const record = this.#agent(event);
    record.text = event.text;
    record.heard = event.heard;
    record.unheard = event.unheard;
    record.interrupted = event.interrupted;
    record.done = true;
    return [record];
  }

  #bargeIn(event) {
    const record = this.#find('agent', event.turn);
    if (!record) return [];
    record.interrupted = true;
    return [record];
  }

  #latency(event) {
    const record = this.#find('agent', event.turn) ?? this.#find('user', event.turn);
    if (!record) return [];
    record.latency = Object.fromEntries(LATENCY_KEYS.map((key) => [key, event[key] ?? null]));
    return [record];
  }
}
