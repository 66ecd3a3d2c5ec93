"""The arithmetic of ``docs/capacity.md``: from a few measured figures to pods, bits and servers.

    python scripts/capacity.py            # writes the page's tables anew
    python scripts/capacity.py --check    # fails where they are not what this computes
    python scripts/capacity.py --calls 25000 --relayed 0.3     # your own, to the terminal

Every figure that goes in stands in ``Figures`` with where it comes from; change one, and the
page follows. A test recomputes the tables.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"
CALLS = (1_000, 10_000, 1_000_000)

IP_UDP_BYTES = 20 + 8
"""IPv4; with IPv6 20 more."""
RTP_BYTES = 12
EXTENSION_BYTES = 12
"""Of what a browser sends: audio level, transport-wide number and mid, padded (RFC 8285)."""
SRTP_TAG_BYTES = 16
"""AES-GCM; 10 with AES_CM_128_HMAC_SHA1_80."""
PACKETS_PER_S = 50


@dataclass(frozen=True)
class Figures:
    """What goes in. ``MEASURED``, ``CHOSEN`` or ``ASSUMED`` says how sure it is."""

    cpu_ms: float = 3.9
    """MEASURED: a call and second, 100 calls of 40% talk, engines stubbed (README)."""
    adapter_cpu_ms: float = 1.2
    """MEASURED: a streaming recogniser's adapter, a call and second (README)."""
    core_share: float = 0.6
    """CHOSEN: of a core; at 60% no packet was late in 200 calls, at 100% answers wait."""
    spare: float = 0.2
    """CHOSEN: pods beyond those needed, for one that goes and the minute until another comes."""
    process_mb: float = 170.0
    """MEASURED: a process with no engine loaded (scripts/image_figures.py)."""
    call_mb: float = 0.5
    """MEASURED: a call (README)."""
    talk: float = 0.4
    """CHOSEN: share of a call in which the agent talks; the caller does for as long."""
    voice_bps: float = 64_000
    """CHOSEN: opus_bitrate_bps."""
    caller_bps: float = 32_000
    """CHOSEN: what callers are asked for (maxaveragebitrate in our description)."""
    silence_bytes: float = 5
    """MEASURED: our Opus frame of silence, and what RTCP adds to it, at 50 packets a second."""
    dtx_packets_per_s: float = 2.5
    """ASSUMED: of a browser that is silent and takes usedtx=1."""
    call_s: float = 180.0
    """ASSUMED: length of a call."""
    relayed: float = 0.15
    """ASSUMED: share of calls that go by TURN; see voicecore_ice_results_total for yours."""
    turn_gbps: float = 4.0
    """CHOSEN: what a TURN server with 10 Gbit/s is given to do, in and out together."""
    node_cores: int = 16
    """CHOSEN: of a node; one is left to the kernel and what else runs there."""


@dataclass(frozen=True)
class Needs:
    """What comes out, for one number of calls."""

    calls: int
    calls_per_core: int
    workers: int
    nodes: int
    cores: float
    memory_gb: float
    down_gbps: float
    up_gbps: float
    packets_per_s: float
    turn_gbps: float
    turn_servers: int
    opened_per_s: float
    http_per_s: float
    redis_per_s: float


def packet_bytes(payload: float, extension: int = 0) -> float:
    """On the wire, IPv4, without the link's own."""
    return payload + RTP_BYTES + extension + SRTP_TAG_BYTES + IP_UDP_BYTES


def down_bps(figures: Figures) -> float:
    """To a caller, on average: 50 packets a second always, of voice or of silence."""
    voice = packet_bytes(figures.voice_bps / 8 / PACKETS_PER_S)
    silence = packet_bytes(figures.silence_bytes)
    return PACKETS_PER_S * 8 * (figures.talk * voice + (1 - figures.talk) * silence)


def up_bps(figures: Figures) -> float:
    """From a caller, on average: 50 packets a second of voice, next to none of silence."""
    voice = packet_bytes(figures.caller_bps / 8 / PACKETS_PER_S, EXTENSION_BYTES)
    silence = packet_bytes(1, EXTENSION_BYTES)
    packets = figures.talk * PACKETS_PER_S, (1 - figures.talk) * figures.dtx_packets_per_s
    return 8 * (packets[0] * voice + packets[1] * silence)


def up_packets(figures: Figures) -> float:
    """A second, from a caller."""
    return figures.talk * PACKETS_PER_S + (1 - figures.talk) * figures.dtx_packets_per_s


def calls_per_core(figures: Figures) -> int:
    """One process of one core."""
    return int(1000 * figures.core_share / (figures.cpu_ms + figures.adapter_cpu_ms))


def needs(calls: int, figures: Figures) -> Needs:
    """What ``calls`` at once take."""
    each = calls_per_core(figures)
    workers = math.ceil(calls / each * (1 + figures.spare))
    nodes = math.ceil(workers / (figures.node_cores - 1))
    down, up = down_bps(figures), up_bps(figures)
    # Every relayed bit comes in at the TURN server and goes out again, each way.
    turn_bps = calls * figures.relayed * (down + up) * 2
    opened = calls / figures.call_s
    return Needs(
        calls=calls,
        calls_per_core=each,
        workers=workers,
        nodes=nodes,
        cores=calls * (figures.cpu_ms + figures.adapter_cpu_ms) / 1000,
        memory_gb=(workers * figures.process_mb + calls * figures.call_mb) / 1000,
        down_gbps=calls * down / 1e9,
        up_gbps=calls * up / 1e9,
        packets_per_s=calls * (PACKETS_PER_S + up_packets(figures)),
        turn_gbps=turn_bps / 1e9,
        turn_servers=math.ceil(turn_bps / 1e9 / figures.turn_gbps),
        opened_per_s=opened,
        # Open, answer, hang up, and one candidate that comes late.
        http_per_s=4 * opened,
        # A place taken and one given back for each call; each worker says three times in
        # lease_s (15 s) that it is there.
        redis_per_s=2 * opened + workers / 5,
    )


ROWS = (
    ("workers (processes of one core), spare included", "workers", "{:,.0f}"),
    ("the same as nodes of 16 cores, 15 workers each", "nodes", "{:,.0f}"),
    ("cores that are busy", "cores", "{:,.0f}"),
    ("memory", "memory_gb", "{:,.1f} GB"),
    ("to callers", "down_gbps", "{:,.2f} Gbit/s"),
    ("from callers", "up_gbps", "{:,.2f} Gbit/s"),
    ("packets, both ways", "packets_per_s", "{:,.0f} a second"),
    ("TURN, in and out", "turn_gbps", "{:,.2f} Gbit/s"),
    ("TURN servers", "turn_servers", "{:,.0f}"),
    ("calls opened", "opened_per_s", "{:,.1f} a second"),
    ("HTTP requests at the balancers", "http_per_s", "{:,.0f} a second"),
    ("requests to Redis", "redis_per_s", "{:,.0f} a second"),
)


def sizes(figures: Figures, calls: tuple[int, ...] = CALLS) -> list[str]:
    """The table of sizes."""
    columns = [needs(count, figures) for count in calls]
    lines = ["| calls at once | " + " | ".join(f"{count:,}" for count in calls) + " |"]
    lines.append("|---|" + "---:|" * len(calls))
    for title, name, form in ROWS:
        values = " | ".join(form.format(getattr(column, name)) for column in columns)
        lines.append(f"| {title} | {values} |")
    return lines


def bits(figures: Figures) -> list[str]:
    """The table of one call's packets."""
    rows = [
        ("agent talks", figures.voice_bps / 8 / PACKETS_PER_S, 0, PACKETS_PER_S),
        ("agent is silent", figures.silence_bytes, 0, PACKETS_PER_S),
        ("caller talks", figures.caller_bps / 8 / PACKETS_PER_S, EXTENSION_BYTES, PACKETS_PER_S),
        ("caller is silent (DTX)", 1, EXTENSION_BYTES, figures.dtx_packets_per_s),
    ]
    lines = [
        "| | Opus | RTP | extensions | SRTP tag | UDP, IPv4 | a packet | a second | kbit/s |",
        "|---|" + "---:|" * 8,
    ]
    for what, payload, extension, rate in rows:
        whole = packet_bytes(payload, extension)
        lines.append(
            f"| {what} | {payload:.0f} | {RTP_BYTES} | {extension} | {SRTP_TAG_BYTES}"
            f" | {IP_UDP_BYTES} | {whole:.0f} B | {rate:g} | {whole * rate * 8 / 1000:.1f} |"
        )
    return lines


def results(figures: Figures) -> list[str]:
    """What follows for one core and one call."""
    each = calls_per_core(figures)
    cpu = figures.cpu_ms + figures.adapter_cpu_ms
    memory = figures.process_mb + each * figures.call_mb
    return [
        "| | |",
        "|---|---|",
        f"| calls a core | {figures.core_share:g} × 1000 ms ÷ ({figures.cpu_ms:g} +"
        f" {figures.adapter_cpu_ms:g}) ms = **{each}** |",
        f"| CPU of a call | {cpu:.1f} ms a second |",
        f"| memory of a worker | {figures.process_mb:g} MB + {each} × {figures.call_mb:g} MB ="
        f" {memory:.0f} MB |",
        f"| to a caller | {figures.talk:g} talking, else silent: {down_bps(figures) / 1000:.1f}"
        " kbit/s |",
        f"| from a caller | {up_bps(figures) / 1000:.1f} kbit/s |",
    ]


def tables() -> dict[str, list[str]]:
    """All that the page holds between marks."""
    figures = Figures()
    return {"bits": bits(figures), "results": results(figures), "sizes": sizes(figures)}


def with_tables(page: str) -> str:
    """``page`` with the tables as they are computed."""
    for name, lines in tables().items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = page.split(start)
        page = before + start + "\n".join(lines) + "\n" + end + rest.split(end)[1]
    return page


def for_others(argv: list[str]) -> int:
    """Print the tables for the figures that ``argv`` gives."""
    parser = argparse.ArgumentParser(description="Sizes for your own figures.")
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    for one in fields(Figures):
        kind: Any = type(one.default)
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=kind, default=one.default)
    given = vars(parser.parse_args(argv))
    calls = tuple(given.pop("calls"))
    figures = replace(Figures(), **given)
    print("\n".join([*results(figures), "", *sizes(figures, calls)]))
    return 0


def main() -> int:
    """Write, check, or compute for others."""
    argv = sys.argv[1:]
    if argv and argv != ["--check"]:
        return for_others(argv)
    page = PAGE.read_text()
    made = with_tables(page)
    if argv:
        print("as computed" if made == page else "docs/capacity.md is not what is computed")
        return 0 if made == page else 1
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
