/** The two level bars and the orb, drawn from the meters while a call lives. */

import { byId } from './dom.js';
import { Meter } from './meters.js';
import { Orb } from './orb.js';
import { inCall, model, on } from './state.js';

const SPOKEN_EVERY_MS = 500;
/** Thirty pictures a second look like sixty here and cost a phone half as much. */
const DRAWN_EVERY_MS = 30;
const CALM_EVERY_MS = 200;

export const caller = new Meter();
export const agent = new Meter();

const calm = matchMedia('(prefers-reduced-motion: reduce)');

let orb;
let running = false;
let spokenAt_ms = 0;
let drawnAt_ms = 0;

function bar(id, meter, now_ms) {
  const element = byId(id);
  element.style.setProperty('--level', meter.level.toFixed(3));
  // Assistive technology needs the figure, but not sixty times a second.
  if (now_ms - spokenAt_ms < SPOKEN_EVERY_MS) return;
  element.setAttribute('aria-valuenow', Math.round(meter.level * 100));
}

function picture(now_ms) {
  const every_ms = calm.matches ? CALM_EVERY_MS : DRAWN_EVERY_MS;
  if (running && now_ms - drawnAt_ms < every_ms) {
    requestAnimationFrame(picture);
    return;
  }
  drawnAt_ms = now_ms;
  caller.update(now_ms);
  agent.update(now_ms);
  orb.draw(now_ms, model.phase, caller, agent);
  bar('level-caller', caller, now_ms);
  bar('level-agent', agent, now_ms);
  if (now_ms - spokenAt_ms >= SPOKEN_EVERY_MS) spokenAt_ms = now_ms;
  running = inCall() || caller.attached;
  if (running) requestAnimationFrame(picture);
}

/** Draw until the call ends, then once more at rest. */
function run() {
  if (running) return;
  running = true;
  requestAnimationFrame(picture);
}

export function mountLevels() {
  orb = new Orb(byId('orb'), run);
  on('phase', run);
}
