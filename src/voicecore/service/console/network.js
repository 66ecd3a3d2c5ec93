/**
 * What getStats() says, in the few figures a person wants.
 *
 * Browsers differ: Chromium names the selected pair in its transport report,
 * Firefox marks the pair itself, and older ones give the round trip only with
 * the receiver reports. Each figure is null where a browser has none.
 */

function byType(report, type, kind) {
  for (const stats of report.values()) {
    if (stats.type === type && (!kind || stats.kind === kind)) return stats;
  }
  return null;
}

function selectedPair(report) {
  const id = byType(report, 'transport')?.selectedCandidatePairId;
  if (id && report.get(id)) return report.get(id);
  const pairs = [...report.values()].filter((s) => s.type === 'candidate-pair');
  return (
    pairs.find((p) => p.selected) ??
    pairs.find((p) => p.nominated && p.state === 'succeeded') ??
    null
  );
}

const ms = (seconds) => (Number.isFinite(seconds) ? seconds * 1000 : null);

/**
 * @param {RTCStatsReport|Map} report
 * @returns {{path: string|null, protocol: string|null, rttMs: number|null,
 *   jitterMs: number|null, lostIn: number|null, lostOut: number|null,
 *   received: number, sent: number, codec: string|null,
 *   buffer: {delay_s: number|undefined, emitted: number|undefined}}}
 */
export function summarise(report) {
  const pair = selectedPair(report);
  const local = pair && report.get(pair.localCandidateId);
  const remote = pair && report.get(pair.remoteCandidateId);
  const inbound = byType(report, 'inbound-rtp', 'audio');
  const outbound = byType(report, 'outbound-rtp', 'audio');
  const echoed = byType(report, 'remote-inbound-rtp', 'audio');
  const codec = report.get(inbound?.codecId ?? outbound?.codecId);
  return {
    path: local ? `${local.candidateType} → ${remote?.candidateType ?? '?'}` : null,
    protocol: local?.relayProtocol ?? local?.protocol ?? null,
    rttMs: ms(pair?.currentRoundTripTime) ?? ms(echoed?.roundTripTime),
    jitterMs: ms(inbound?.jitter),
    lostIn: inbound?.packetsLost ?? null,
    lostOut: echoed?.packetsLost ?? null,
    received: inbound?.packetsReceived ?? 0,
    sent: outbound?.packetsSent ?? 0,
    buffer: {
      delay_s: inbound?.jitterBufferDelay,
      emitted: inbound?.jitterBufferEmittedCount,
    },
    codec: codec ? `${codec.mimeType.split('/')[1]} ${codec.clockRate / 1000} kHz` : null,
  };
}

/** The agent's audio as it arrived, for tests: plain numbers, {} without a call. */
export async function remoteAudio(pc) {
  if (!pc) return {};
  const inbound = byType(await pc.getStats(), 'inbound-rtp', 'audio') ?? {};
  const wanted = [
    'packetsReceived',
    'packetsLost',
    'bytesReceived',
    'jitter',
    'audioLevel',
    'totalAudioEnergy',
    'totalSamplesDuration',
    'totalSamplesReceived',
    'concealedSamples',
    'silentConcealedSamples',
    'concealmentEvents',
  ];
  return Object.fromEntries(wanted.filter((k) => k in inbound).map((k) => [k, inbound[k]]));
}

/** Ask once a second while a call lives; the returned function stops it. */
export function watch(pc, tell) {
  const timer = setInterval(async () => {
    if (pc.connectionState !== 'connected') return;
    const report = await pc.getStats().catch(() => null);
    if (report) tell(summarise(report));
  }, 1000);
  return () => clearInterval(timer);
}
