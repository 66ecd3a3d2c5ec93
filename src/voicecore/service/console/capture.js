/** The microphone: asking for it, choosing it, and saying why it can't be had. */

import { CallProblem, insecureProblem, microphoneProblem, problem } from './problems.js';
import { recall, remember } from './storage.js';

const KEY = 'microphone';

/** The chosen device's id; '' stands for the system's default. */
export function chosenDevice() {
  return recall(KEY) ?? '';
}

export function chooseDevice(deviceId) {
  remember(KEY, deviceId);
}

function ask(deviceId) {
  return navigator.mediaDevices.getUserMedia({
    audio: {
      echoCancellation: true,
      noiseSuppression: true,
      autoGainControl: true,
      channelCount: 1,
      ...(deviceId && { deviceId: { exact: deviceId } }),
    },
  });
}

/**
 * Open the chosen microphone, or the default one if that has gone.
 *
 * @returns {Promise<MediaStream>} with one audio track
 * @throws {CallProblem}
 */
export async function openMicrophone() {
  if (!globalThis.RTCPeerConnection) throw new CallProblem(problem('no_webrtc'));
  if (!globalThis.isSecureContext || !navigator.mediaDevices) {
    throw new CallProblem(insecureProblem(location));
  }
  const deviceId = chosenDevice();
  try {
    return await ask(deviceId).catch((fault) => {
      if (deviceId && ['OverconstrainedError', 'NotFoundError'].includes(fault.name)) return ask('');
      throw fault;
    });
  } catch (fault) {
    throw new CallProblem(microphoneProblem(fault));
  }
}

/** Microphones as {id, label}; labels are empty until the microphone was allowed. */
export async function listMicrophones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter((d) => d.kind === 'audioinput' && d.deviceId && d.deviceId !== 'default')
    .map((d, i) => ({ id: d.deviceId, label: d.label || `Microphone ${i + 1}` }));
}
