/** The table of calls. A row stays the same element while its call lives, so that nothing jumps. */

const MOST_ROWS = 500;
const SURE_MS = 4000;

/** Seconds as m:ss, or h:mm:ss. */
function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, '0');
  const rest = `${Math.floor(s / 60) % 60}:${two(s % 60)}`;
  return s < 3600 ? rest : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

const percent = (value) => (value === null || value === undefined ? '–' : `${value.toFixed(1)} %`);
const whole = (value, unit) => (value === undefined ? '–' : `${Math.round(value)} ${unit}`);

function cell(...classes) {
  const td = document.createElement('td');
  td.className = classes.join(' ');
  return td;
}

function set(td, text, poor = false) {
  if (td.textContent !== text) td.textContent = text;
  td.classList.toggle('poor', poor);
}

class Row {
  constructor(id, hangUp) {
    this.element = document.createElement('tr');
    this.state = document.createElement('span');
    this.state.className = 'state';
    this.cells = {
      id: cell('id'), state: cell(), age: cell('number'), turn: cell('number'),
      connection: cell(), path: cell(), codec: cell(), loss: cell('number'),
      trip: cell('number'), mos: cell('number'), actions: cell('actions'),
    };
    this.cells.id.textContent = id;
    this.cells.state.append(this.state);
    this.relay = document.createElement('span');
    this.relay.className = 'relay';
    this.relay.textContent = 'relayed';
    this.path = document.createElement('span');
    this.cells.path.append(this.path, this.relay);
    this.cells.actions.append(this.button(id, hangUp));
    this.element.append(...Object.values(this.cells));
  }

  /** Asks once more by its own words: a slip of the hand ends nobody's call. */
  button(id, hangUp) {
    const button = document.createElement('button');
    button.type = 'button';
    const calm = () => {
      button.textContent = 'Hang up';
      button.setAttribute('aria-label', `Hang up ${id}`);
      button.classList.remove('danger');
    };
    calm();
    button.addEventListener('click', () => {
      if (button.classList.contains('danger')) {
        button.disabled = true;
        hangUp(id).finally(() => {
          button.disabled = false;
          calm();
        });
        return;
      }
      button.textContent = 'Really?';
      button.setAttribute('aria-label', `Really hang up ${id}?`);
      button.classList.add('danger');
      setTimeout(calm, SURE_MS);
    });
    return button;
  }

  show(call) {
    const { cells } = this;
    this.state.textContent = call.state;
    this.state.dataset.state = call.state;
    set(cells.age, age(call.age_s));
    set(cells.turn, String(call.turn ?? '–'));
    set(cells.connection, call.connection ?? '–');
    const { local, remote } = call.pair ?? {};
    this.path.textContent = local ? `${local} – ${remote}` : '–';
    this.relay.hidden = local !== 'relay' && remote !== 'relay';
    set(cells.codec, call.codec ?? '–');
    const worst = Math.max(call.loss_percent ?? 0, call.sent_loss_percent ?? 0);
    set(cells.loss, `${percent(call.loss_percent)} / ${percent(call.sent_loss_percent)}`, worst >= 5);
    set(cells.trip, whole(call.round_trip_ms, 'ms'), call.round_trip_ms >= 400);
    const scores = [call.mos_in, call.mos_out];
    const mos = scores.map((score) => score?.toFixed(1) ?? '–').join(' / ');
    set(cells.mos, mos, scores.some((score) => score && score < 3));
  }
}

export class Rows {
  /** `hangUp(id)` ends a call and settles when that is known. */
  constructor(body, hangUp) {
    this.body = body;
    this.hangUp = hangUp;
    this.rows = new Map();
  }

  /** Show these calls, oldest first; returns how many there was no room for. */
  show(calls) {
    const shown = calls.slice(0, MOST_ROWS);
    const known = new Set(shown.map((call) => call.session_id));
    for (const [id, row] of this.rows) {
      if (known.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    for (const call of shown) {
      let row = this.rows.get(call.session_id);
      if (!row) {
        row = new Row(call.session_id, this.hangUp);
        this.rows.set(call.session_id, row);
        this.body.append(row.element);
      }
      row.show(call);
    }
    return calls.length - shown.length;
  }
}
