/** Signaling: the six requests of a call whose offer the server makes. */

import { givenKey } from './access.js';

const BASE = '/api/voice';
const PATIENCE_MS = 10_000;

/** What the server refused, or that it could not be asked (`status` 0). */
export class ApiError extends Error {
  name = 'ApiError';

  constructor(status, code, message, retryAfterS = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

async function request(method, path, { token, key, body, keepalive = false } = {}) {
  const headers = {};
  if (key) headers['X-API-Key'] = key;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      keepalive,
      credentials: 'same-origin',
      cache: 'no-store',
      // A timer of a page that is going away would take its last request along.
      signal: keepalive ? undefined : AbortSignal.timeout(PATIENCE_MS),
    });
  } catch (fault) {
    const code = fault.name === 'TimeoutError' ? 'timeout' : 'unreachable';
    throw new ApiError(0, code, fault.message);
  }
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json().catch(() => null);
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const seconds = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  return new ApiError(
    response.status,
    body?.error?.code ?? `http_${response.status}`,
    body?.error?.message ?? response.statusText,
    Number.isFinite(seconds) ? seconds : null,
  );
}

/** Open a session: {session_id, offer, ice_servers, token}. */
export function openSession() {
  return request('POST', '/session', { key: givenKey() });
}

/** Send our answer to the server's offer. */
export function sendAnswer({ session_id, token }, { type, sdp }) {
  return request('POST', '/answer', { token, body: { session_id, answer: { type, sdp } } });
}

/** Send one more candidate; null says that there will be none. */
export function sendCandidate({ session_id, token }, candidate) {
  const body = {
    candidate: candidate && {
      candidate: candidate.candidate,
      sdpMid: candidate.sdpMid,
      sdpMLineIndex: candidate.sdpMLineIndex,
      usernameFragment: candidate.usernameFragment,
    },
  };
  return request('PATCH', `/session/${encodeURIComponent(session_id)}`, { token, body });
}

/** Send an offer that restarts ICE: {sdp, type, session_id, ice_servers}. */
export function sendRestart({ session_id, token }, { type, sdp }) {
  const path = `/session/${encodeURIComponent(session_id)}/restart`;
  return request('POST', path, { token, body: { type, sdp } });
}

/** End the session. `leaving`: the page is being closed, so outlive it. */
export function closeSession({ session_id, token }, { leaving = false } = {}) {
  const path = `/session/${encodeURIComponent(session_id)}`;
  return request('DELETE', path, { token, keepalive: leaving });
}
