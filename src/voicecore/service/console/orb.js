/**
 * The orb: one picture of who is speaking.
 *
 * Ticks outside the ring are the caller's spectrum; ticks inside it and the size
 * of the disc are the agent's. The ring between them wears the colour of the
 * state and moves while something is being waited for. While the agent gives way
 * the ring is the caller's, and the disc stays the agent's, dimmed: it may go on.
 */

import { onThemeChange } from './theme.js';
import { BANDS } from './meters.js';

const TICKS = BANDS * 2;
/** Below this a band counts as silent. */
const QUIET = 0.02;
const TURN = Math.PI * 2;
const STATE_COLOURS = {
  idle: 'idle',
  connecting: 'idle',
  listening: 'listen',
  hearing: 'caller',
  thinking: 'think',
  speaking: 'agent',
  yielding: 'caller',
  failed: 'bad',
};

const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** Band of the tick at `i`: low tones at the top, the same on both sides. */
function bandAt(bands, i) {
  const half = i < BANDS ? i : TICKS - 1 - i;
  return bands[half];
}

export class Orb {
  #canvas;
  #pen;
  #size = 0;
  #colours = {};
  #breath = 0;

  /** `redraw` is called when the picture was lost, for another size for instance. */
  constructor(canvas, redraw) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext('2d');
    this.#readColours();
    onThemeChange(() => {
      this.#readColours();
      redraw();
    });
    new ResizeObserver(() => {
      this.#fit();
      redraw();
    }).observe(canvas);
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ['idle', 'listen', 'caller', 'think', 'agent', 'bad', 'tick']) {
      this.#colours[name] = style.getPropertyValue(`--orb-${name}`).trim() || 'gray';
    }
  }

  #fit() {
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    this.#size = this.#canvas.clientWidth;
    this.#canvas.width = this.#canvas.height = Math.round(this.#size * ratio);
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /** Draw one picture. `now_ms` moves what moves; the meters give the rest. */
  draw(now_ms, phase, caller, agent) {
    const pen = this.#pen;
    const centre = this.#size / 2;
    const radius = this.#size * 0.315;
    this.#breath = calm.matches ? 0 : Math.sin(now_ms / 900);
    pen.clearRect(0, 0, this.#size, this.#size);
    pen.save();
    pen.translate(centre, centre);
    this.#ticks(radius * 1.12, radius * 0.44, caller.bands, this.#colours.caller, true);
    this.#ticks(radius * 0.92, radius * -0.4, agent.bands, this.#colours.agent, false);
    this.#body(radius, phase, agent);
    this.#ring(radius, phase, now_ms);
    pen.restore();
  }

  /**
   * One spectrum as ticks from the circle `from` on, along the radius by at
   * most `reach` (inwards if negative). Silent ticks are drawn when `scale` is set.
   */
  #ticks(from, reach, bands, colour, scale) {
    const pen = this.#pen;
    pen.lineWidth = Math.max(1.5, this.#size / 150);
    pen.lineCap = 'round';
    for (let i = 0; i < TICKS; i += 1) {
      const level = bandAt(bands, i);
      const sounds = level > QUIET;
      if (!sounds && !scale) continue;
      const angle = ((i + 0.5) / TICKS) * TURN - TURN / 4;
      const to = from + reach * (0.07 + 0.93 * level);
      const [x, y] = [Math.cos(angle), Math.sin(angle)];
      pen.strokeStyle = sounds ? colour : this.#colours.tick;
      pen.globalAlpha = sounds ? 0.5 + 0.5 * Math.min(1, level * 2) : 1;
      pen.beginPath();
      pen.moveTo(x * from, y * from);
      pen.lineTo(x * to, y * to);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  /** A disc that swells with the agent's level; it never reaches the ring. */
  #body(radius, phase, agent) {
    const pen = this.#pen;
    const held = phase === 'yielding';
    const colour = held ? this.#colours.agent : this.#stateColour(phase);
    const size = radius * (0.46 + 0.012 * this.#breath + 0.2 * agent.level);
    for (const [scale, alpha] of [
      [1.26, 0.12],
      [1.13, 0.18],
    ]) {
      pen.globalAlpha = alpha;
      pen.fillStyle = colour;
      this.#disc(size * scale);
    }
    pen.globalAlpha = held ? 0.4 : 0.95;
    pen.fillStyle = this.#gradient(size, colour);
    this.#disc(size);
    pen.globalAlpha = 1;
  }

  #disc(size) {
    this.#pen.beginPath();
    this.#pen.arc(0, 0, size, 0, TURN);
    this.#pen.fill();
  }

  #gradient(size, colour) {
    const fill = this.#pen.createRadialGradient(0, -size * 0.4, size * 0.05, 0, 0, size);
    fill.addColorStop(0, `color-mix(in srgb, ${colour} 66%, white)`);
    fill.addColorStop(1, colour);
    return fill;
  }

  #ring(radius, phase, now_ms) {
    const pen = this.#pen;
    const colour = this.#stateColour(phase);
    const waiting = phase === 'thinking' || phase === 'connecting';
    pen.lineWidth = Math.max(2, this.#size / 110);
    pen.lineCap = 'round';
    pen.strokeStyle = colour;
    pen.globalAlpha = waiting ? 0.22 : 0.85;
    pen.beginPath();
    pen.arc(0, 0, radius, 0, TURN);
    pen.stroke();
    pen.globalAlpha = 1;
    if (!waiting) return;
    const start = calm.matches ? -TURN / 4 : (now_ms / 1100) * TURN;
    for (let arm = 0; arm < 3; arm += 1) {
      pen.beginPath();
      pen.arc(0, 0, radius, start + (arm * TURN) / 3, start + (arm * TURN) / 3 + TURN / 9);
      pen.stroke();
    }
  }

  #stateColour(phase) {
    return this.#colours[STATE_COLOURS[phase]];
  }
}
