/**
 * The life of one call: microphone, signaling, peer connection, data channel.
 *
 *     start() ─ microphone ─ session ─ answer ─ ICE/DTLS ─ connected … end()
 *                                                 ▲            │ the network changed
 *                                                 └─ restart ◄─┘
 *
 * `end` may come at any moment, also while start() awaits something; start()
 * then returns quietly and leaves nothing behind. A call is used once.
 */

import {
  ApiError,
  closeSession,
  openSession,
  sendAnswer,
  sendCandidate,
  sendRestart,
} from './api.js';
import { openMicrophone } from './capture.js';
import { CallProblem, iceProblem, problem, serverProblem, tellingRelayError } from './problems.js';
import { Reconnect } from './reconnect.js';

const CONNECT_MS = 25_000;
const CHANNEL = 'voicecore';

/** Thrown inside start() when the call was ended under it. */
class Ended extends Error {}

export class Call {
  #hooks;
  #session = null;
  #channel = null;
  #microphone = null;
  #sender = null;
  #timer = 0;
  #ended = false;
  #connected = false;
  #answered = false;
  #reconnect = null;
  #waiting = [];
  #trickle = Promise.resolve();
  #ownCandidates = 0;
  #ownRelays = 0;
  #relayError = null;

  /** The peer connection, for statistics; null before and after. */
  pc = null;

  /**
   * @param {object} hooks onStep(text), onMicrophone(stream), onRemote(stream),
   *   onMessage(text), onConnection(state), onConnected(),
   *   onReconnecting(reconnecting), onEnd(problem|null): once, however the call ends
   */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  async start() {
    try {
      this.#hooks.onStep('Allow the microphone if the browser asks');
      await this.#openMicrophone();
      this.#hooks.onStep('Opening the call');
      await this.#openSession();
      this.#hooks.onStep('Finding a way through the network');
      await this.#answer();
    } catch (fault) {
      if (!(fault instanceof Ended)) this.end(describe(fault));
    }
  }

  /**
   * Hang up, or take note that the server did.
   *
   * @param {object|null} why a problem to show
   * @param {{leaving?: boolean, told?: boolean}} how `leaving`: the page is being
   *   closed; `told`: the server ended the call itself and needs no word of ours
   */
  end(why = null, { leaving = false, told = false } = {}) {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#reconnect?.stop();
    // A page on its way out may lose its request; one of the two will arrive.
    if (leaving) this.tell({ type: 'hangup' });
    this.#microphone?.getTracks().forEach((track) => track.stop());
    this.pc?.close();
    this.pc = null;
    // A session that ended meanwhile, or a server that is gone, is no matter any more.
    if (this.#session && !told) closeSession(this.#session, { leaving }).catch(() => {});
    this.#hooks.onEnd(why);
  }

  /** Send a message over the data channel, if it is open. */
  tell(message) {
    if (this.#channel?.readyState === 'open') this.#channel.send(JSON.stringify(message));
  }

  /** So many of the agent's packets have come; to be told each second. */
  received(packets) {
    this.#reconnect?.received(packets);
  }

  setMuted(muted) {
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /** Take the microphone chosen by now, without renegotiating. */
  async changeMicrophone() {
    const old = this.#microphone;
    if (!old) return;
    const muted = old.getAudioTracks().some((track) => !track.enabled);
    await this.#openMicrophone();
    this.setMuted(muted);
    await this.#sender?.replaceTrack(this.#microphone.getAudioTracks()[0]);
    old.getTracks().forEach((track) => track.stop());
  }

  /** The value of `promise`, unless the call ended meanwhile. */
  async #still(promise, release = () => {}) {
    const value = await promise;
    if (this.#ended) {
      release(value);
      throw new Ended();
    }
    return value;
  }

  async #openMicrophone() {
    const stop = (stream) => stream.getTracks().forEach((track) => track.stop());
    const stream = await this.#still(openMicrophone(), stop);
    this.#microphone = stream;
    stream.getAudioTracks()[0].addEventListener('ended', () => {
      if (this.#microphone === stream && !this.#ended) this.#hooks.onMicrophone(null);
    });
    this.#hooks.onMicrophone(stream);
  }

  async #openSession() {
    const abandon = (session) => closeSession(session).catch(() => {});
    this.#session = await this.#still(openSession(), abandon);
  }

  async #answer() {
    const pc = new RTCPeerConnection({
      iceServers: this.#session.ice_servers ?? [],
      iceTransportPolicy: this.#session.ice_transport_policy ?? 'all',
    });
    this.pc = pc;
    this.#listen(pc);
    this.#timer = setTimeout(() => this.end(this.#noPath()), CONNECT_MS);
    await this.#still(pc.setRemoteDescription(this.#session.offer));
    // Added after the offer, the track takes the offered m-line, which turns sendrecv.
    this.#sender = pc.addTrack(this.#microphone.getAudioTracks()[0], this.#microphone);
    await this.#still(pc.setLocalDescription(await this.#still(pc.createAnswer())));
    await this.#still(sendAnswer(this.#session, pc.localDescription));
    this.#answered = true;
    for (const candidate of this.#waiting.splice(0)) this.#send(candidate);
  }

  #listen(pc) {
    pc.addEventListener('icecandidate', ({ candidate }) => this.#found(candidate));
    pc.addEventListener('icecandidateerror', ({ url, errorCode }) => {
      if (!url?.startsWith('turn')) return;
      this.#relayError = tellingRelayError(this.#relayError, errorCode);
    });
    pc.addEventListener('track', ({ track, streams }) => {
      this.#hooks.onRemote(streams[0] ?? new MediaStream([track]));
    });
    pc.addEventListener('datachannel', ({ channel }) => {
      if (channel.label === CHANNEL) this.#talk(channel);
    });
    pc.addEventListener('connectionstatechange', () => this.#changed(pc.connectionState));
  }

  #found(candidate) {
    // An empty candidate ends one generation (Firefox); null, which follows, ends all.
    if (candidate?.candidate === '') return;
    if (candidate) {
      this.#ownCandidates += 1;
      if (candidate.type === 'relay') this.#ownRelays += 1;
    } else if (this.#relayedOnly && this.#ownCandidates === 0) {
      // Nothing more can come: why wait?
      this.end(this.#noPath());
      return;
    }
    // The server can take candidates only once it has the answer they belong to.
    if (this.#answered) this.#send(candidate);
    else this.#waiting.push(candidate);
  }

  #send(candidate) {
    this.#trickle = this.#trickle
      .then(() => (this.#ended ? null : sendCandidate(this.#session, candidate)))
      // One candidate the server would not have is no reason to end the call.
      .catch((fault) => console.warn('voicecore: candidate not taken:', fault.code));
  }

  #talk(channel) {
    this.#channel = channel;
    channel.addEventListener('message', ({ data }) => {
      if (!this.#ended) this.#hooks.onMessage(data);
    });
    channel.addEventListener('close', () => this.end(problem('channel_closed')));
  }

  #changed(state) {
    if (this.#ended) return;
    this.#hooks.onConnection(state);
    if (state === 'connected' && !this.#connected) {
      this.#connected = true;
      clearTimeout(this.#timer);
      this.#reconnect = new Reconnect(
        () => this.#restart(),
        (reconnecting) => this.#hooks.onReconnecting(reconnecting),
        () => this.end(problem('call_lost')),
      );
      this.#hooks.onConnected();
    } else if (state === 'failed' && !this.#connected) {
      this.end(this.#noPath());
    }
    this.#reconnect?.changed(state);
  }

  /** One attempt at another way through the network; see Reconnect. */
  async #restart() {
    const pc = this.pc;
    this.#answered = false;
    this.#waiting = [];
    try {
      // An offer that the server may have taken without our knowing is of no use twice.
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
      const answer = await sendRestart(this.#session, pc.localDescription);
      if (this.#ended) return 'gone';
      pc.setConfiguration({ ...pc.getConfiguration(), iceServers: answer.ice_servers ?? [] });
      await pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
    } catch (fault) {
      return this.#ended ? 'gone' : afterRefusal(fault);
    }
    this.#answered = true;
    for (const candidate of this.#waiting.splice(0)) this.#send(candidate);
    return 'sent';
  }

  get #relayedOnly() {
    return this.#session?.ice_transport_policy === 'relay';
  }

  #noPath() {
    return iceProblem(this.#session.offer.sdp, this.#ownCandidates, {
      given: JSON.stringify(this.#session.ice_servers ?? []).includes('turn'),
      only: this.#relayedOnly,
      error: this.#ownRelays > 0 ? null : this.#relayError,
    });
  }
}

function afterRefusal(fault) {
  console.warn('voicecore: not reconnected yet:', fault.code ?? fault.name);
  const final = fault instanceof ApiError && [401, 403, 404, 422].includes(fault.status);
  return final ? 'gone' : 'later';
}

function describe(fault) {
  if (fault instanceof CallProblem) return fault.problem;
  if (fault instanceof ApiError) return serverProblem(fault);
  console.error(fault);
  return problem('unexpected', fault.message);
}
