/**
 * What can go wrong, in words that say what to do about it.
 *
 * A problem is {code, title, advice}; `code` is for programs, the others for the
 * person in front of the page.
 */

/** An error that carries a problem to the page. */
export class CallProblem extends Error {
  name = 'CallProblem';

  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

const TLS_HINT =
  'start the server with --host 0.0.0.0 --tls self and a key (or --allow-anonymous), and open its https:// address';

const WORDS = {
  no_webrtc: [
    'This browser has no WebRTC',
    'Use a current Chromium, Chrome, Edge, Firefox or Safari, and check that no extension turns WebRTC off.',
  ],
  mic_denied: [
    'The microphone is not allowed',
    'Allow it in the site settings beside the address bar (and in the system’s privacy settings), then call again.',
  ],
  mic_missing: [
    'No microphone was found',
    'Plug one in, or choose it in the system’s sound settings, then call again.',
  ],
  mic_busy: [
    'The microphone did not start',
    'Another program may hold it. Close that program or choose another microphone, then call again.',
  ],
  mic_lost: [
    'The microphone went away',
    'It was unplugged or switched off. Choose another one below; the call goes on.',
  ],
  server_gone: [
    'The server does not answer',
    'Check that it still runs and that this page’s address is right, then call again.',
  ],
  call_lost: [
    'The connection was lost',
    'The network changed or the server stopped. Check both, then call again.',
  ],
  channel_closed: ['The server closed the call', 'Call again when you like.'],
  sound_held: [
    'The browser holds the sound back',
    'It waits for a touch or a key before it plays anything.',
  ],
  unexpected: ['Something unexpected happened', 'Reload the page and call again.'],
};

const KEY_WORDS = {
  key_missing: [
    'This server wants to know who calls',
    'Enter the key that you were given by whoever runs it. It is forgotten when this tab is closed.',
  ],
  wrong_key: [
    'That key is not known here',
    'Look whether all of it was copied, or ask whoever runs this server for a new one.',
  ],
  token_expired: [
    'Your key has expired',
    'Ask whoever runs this server for a new one, and enter it here.',
  ],
};

/** The problem named `code`; an unknown one is shown as unexpected. */
export function problem(code, extra = '') {
  const [title, advice] = WORDS[code] ?? WORDS.unexpected;
  return { code, title, advice: extra ? `${advice} (${extra})` : advice };
}

/** Why there is no microphone on a page that is neither https nor localhost. */
export function insecureProblem(location) {
  const port = location.port ? `:${location.port}` : '';
  return {
    code: 'insecure',
    title: 'Browsers give the microphone only to secure pages',
    advice: `On the server’s own machine open http://localhost${port}. From any other one, ${TLS_HINT}.`,
  };
}

/** The problem behind an exception of getUserMedia. */
export function microphoneProblem(fault) {
  const code = {
    NotAllowedError: 'mic_denied',
    SecurityError: 'mic_denied',
    NotFoundError: 'mic_missing',
    OverconstrainedError: 'mic_missing',
    NotReadableError: 'mic_busy',
    AbortError: 'mic_busy',
  }[fault.name];
  return code ? problem(code) : problem('mic_busy', fault.name);
}

/** The problem behind an ApiError. */
export function serverProblem(fault) {
  if (fault.status === 0) return problem('server_gone');
  if (fault.status === 401 && fault.code in KEY_WORDS) {
    const [title, advice] = KEY_WORDS[fault.code];
    return { code: fault.code, title, advice };
  }
  if (fault.code === 'rate_limited') {
    return {
      code: 'rate_limited',
      title: 'Too many calls in a short time',
      advice: 'The server takes only so many from one place. It will take this one soon.',
      retryAfterS: fault.retryAfterS ?? 30,
    };
  }
  if (fault.code?.startsWith('turn_')) {
    return {
      code: fault.code,
      title: 'The relay for calls is not working',
      advice: fault.message,
      retryAfterS: fault.retryAfterS ?? 15,
    };
  }
  if (fault.code === 'draining') {
    return {
      code: 'draining',
      title: 'The server is about to stop',
      advice: 'Its successor takes calls in a moment.',
      retryAfterS: fault.retryAfterS ?? 5,
    };
  }
  if (fault.status === 503 || fault.status === 429) {
    const starting = fault.code === 'not_ready';
    return {
      code: starting ? 'not_ready' : 'server_full',
      title: starting ? 'The server is not ready' : 'All lines are busy',
      advice: starting
        ? 'It is still loading its engines.'
        : 'The server takes no more calls just now.',
      retryAfterS: fault.retryAfterS ?? 5,
    };
  }
  return {
    code: fault.code,
    title: `The server refused the call (${fault.status})`,
    advice: fault.message || 'Its log says more.',
  };
}

// What browsers tell of a TURN server that gave no relay; that it can’t be reached tells least.
const RELAY_ERRORS = new Map([
  [
    401,
    'it refused this call’s password. The server’s turn_secret and the relay’s ' +
      'static-auth-secret may differ, or their clocks.',
  ],
  [486, 'it has no room for this call. Wait a little, then call again.'],
  [437, 'it still holds an earlier call from here. Wait a minute, then call again.'],
  [701, 'it can’t be reached from here. A firewall may block its ports, or its address is wrong.'],
]);

/** Of two error codes of TURN servers (either may be null) the one that tells more. */
export function tellingRelayError(one, other) {
  return [...RELAY_ERRORS.keys()].find((code) => code === one || code === other) ?? one ?? other;
}

/**
 * Why no path was found, as far as the candidates tell.
 *
 * @param {string} remoteSdp the server's offer
 * @param {number} ownCandidates how many candidates this browser found
 * @param {{given: boolean, only: boolean, error: number|null}} relay `given`: the server
 *   named a TURN server; `only`: no other way is allowed; `error`: why it gave no relay
 */
export function iceProblem(remoteSdp, ownCandidates, relay) {
  const addresses = [...remoteSdp.matchAll(/^a=candidate:\S+ \d+ \S+ \d+ (\S+) /gm)].map((m) => m[1]);
  const code = 'ice_failed';
  const title = 'No way through the network was found';
  if (addresses.length > 0 && addresses.every((a) => a.startsWith('127.') || a === '::1')) {
    return {
      code,
      title,
      advice:
        'The server has no network interface but loopback, and browsers do not call loopback. ' +
        'Join any network (it need not reach the internet), or start Chromium with ' +
        '--allow-loopback-in-peer-connection.',
    };
  }
  if (relay.error) {
    const way = relay.only
      ? 'Calls go through a TURN relay here'
      : 'A firewall blocks the direct way, and there is a TURN relay';
    const words = RELAY_ERRORS.get(relay.error) ?? `it answered with error ${relay.error}.`;
    return { code: 'relay_failed', title: 'The relay did not help', advice: `${way}, but ${words}` };
  }
  if (ownCandidates === 0) {
    return {
      code,
      title,
      advice:
        'This browser offered no address of its own: a VPN, a privacy extension or a policy may forbid WebRTC here.',
    };
  }
  return {
    code,
    title,
    advice: relay.given
      ? 'A firewall blocks UDP to the server and the TURN relay did not help either: check the relay’s address and secret.'
      : 'A firewall probably blocks UDP between you and the server. Open its UDP ports, or configure a TURN server.',
  };
}

/** How a call ended, from the reason in `bye`. */
export function farewell(reason) {
  const words = {
    hung_up: 'Call ended',
    caller_hung_up: 'Call ended',
    closed: 'Call ended',
    idle: 'Ended after a long silence',
    caller_silent: 'Ended: nothing was heard from you for a long time',
    limit: 'Ended at the longest time for a call',
    server_drained: 'The server is going down; call again in a moment',
    server_stopped: 'The server is going down; call again in a moment',
    vad_failed: 'The server could not listen any more; call again',
  };
  return words[reason] ?? `Call ended (${reason})`;
}
