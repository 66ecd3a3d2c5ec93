/** The two level bars and the orb, drawn from the meters while a call lives. */

import { byId } from './dom.js';
import { Meter } from './meters.js';
import { Orb } from './orb.js';
import { inCall, model, on } from './state.js';

const SPOKEN_EVERY_MS = 500;

export const caller = new Meter();
export const agent = new Meter();

let orb;
let running = false;
let spokenAt_ms = 0;

function bar(id, meter, now_ms) {
  const element = byId(id);
  element.style.setProperty('--level', meter.level.toFixed(3));
  // Assistive technology needs the figure, but not sixty times a second.
  if (now_ms - spokenAt_ms < SPOKEN_EVERY_MS) return;
  element.setAttribute('aria-valuenow', Math.round(meter.level * 100));
}

function picture(now_ms) {
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
