/**
 * Levels, measured here in the page: an AnalyserNode for each direction.
 *
 * Nothing is played through the audio context; the remote stream is heard by
 * the audio element alone, or it would sound twice.
 */

export const BANDS = 40;
const FLOOR_DB = -60;
const LOW_HZ = 90;
const HIGH_HZ = 7000;
/** Time constants, so that every display sees the same needle, at 60 Hz or at 144. */
const RISE_MS = 15;
const FALL_MS = 160;

let context = null;

/** The page's one audio context; browsers start it only after a touch or a key. */
function audioContext() {
  context ??= new AudioContext({ latencyHint: 'interactive' });
  resume();
  return context;
}

/** Wake the context; harmless at any time. */
export function resume() {
  if (context?.state === 'suspended') context.resume().catch(() => {});
}

/** -60 dBFS and below is 0, full scale is 1. */
function toUnit(rms) {
  const db = 20 * Math.log10(rms + 1e-9);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}

/** Which spectrum bins make which band: equal steps in pitch. */
function bandEdges(rateHz, size) {
  const edges = [];
  for (let i = 0; i <= BANDS; i += 1) {
    const hz = LOW_HZ * (HIGH_HZ / LOW_HZ) ** (i / BANDS);
    edges.push(Math.round((hz * size) / rateHz));
  }
  return edges;
}

/** One direction's meter. */
export class Meter {
  #source = null;
  #analyser = null;
  #stream = null;
  #wave = new Float32Array(0);
  #spectrum = new Uint8Array(0);
  #edges = [];
  #updatedAt_ms = 0;

  /** 0 (-60 dBFS or less) to 1 (full scale); quick to rise, slow to fall. */
  level = 0;
  /** The same for each of the 40 bands from 90 to 7000 Hz. */
  bands = new Float32Array(BANDS);

  /** Measure `stream` from now on; null measures nothing. */
  attach(stream) {
    this.#source?.disconnect();
    this.#source = null;
    this.#stream = stream;
    this.level = 0;
    this.bands.fill(0);
    if (!stream) return;
    try {
      this.#measure(stream);
    } catch (fault) {
      // A call without meters is still a call: some systems have no audio output to clock them.
      console.warn('voicecore: no level meter:', fault.message);
    }
  }

  #measure(stream) {
    const audio = audioContext();
    if (!this.#analyser) {
      this.#analyser = new AnalyserNode(audio, { fftSize: 1024, smoothingTimeConstant: 0.55 });
      this.#wave = new Float32Array(this.#analyser.fftSize);
      this.#spectrum = new Uint8Array(this.#analyser.frequencyBinCount);
      this.#edges = bandEdges(audio.sampleRate, this.#analyser.fftSize);
    }
    this.#source = audio.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  get attached() {
    return this.#stream !== null;
  }

  /** Measure once more at `now_ms`; call it for each picture drawn. */
  update(now_ms) {
    if (!this.#source) return;
    this.#analyser.getFloatTimeDomainData(this.#wave);
    let power = 0;
    for (const sample of this.#wave) power += sample * sample;
    const now = toUnit(Math.sqrt(power / this.#wave.length));
    const kept = Math.exp((this.#updatedAt_ms - now_ms) / (now > this.level ? RISE_MS : FALL_MS));
    this.level = now + (this.level - now) * kept;
    this.#updatedAt_ms = now_ms;
    this.#analyser.getByteFrequencyData(this.#spectrum);
    for (let band = 0; band < BANDS; band += 1) this.bands[band] = this.#loudest(band);
  }

  #loudest(band) {
    const from = this.#edges[band];
    const to = Math.max(from + 1, this.#edges[band + 1]);
    let loudest = 0;
    for (let bin = from; bin < to; bin += 1) loudest = Math.max(loudest, this.#spectrum[bin]);
    return (loudest / 255) ** 2;
  }
}
