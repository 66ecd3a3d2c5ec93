"""``docs/capacity.md`` says what its arithmetic gives, and the arithmetic is right."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import capacity  # noqa: E402 -- a script, in no package

from voicecore.service.config import Settings  # noqa: E402

FIGURES = capacity.Figures()


def test_the_page_is_as_computed() -> None:
    page = capacity.PAGE.read_text()
    assert capacity.with_tables(page) == page, "run scripts/capacity.py"
    for name, lines in capacity.tables().items():
        spoilt = page.replace(lines[-1], "| something else |")
        assert spoilt != page, name
        assert capacity.with_tables(spoilt) == page


def test_figures_in_the_text_are_the_computed_ones() -> None:
    text = capacity.PAGE.read_text()
    million, cell = capacity.needs(1_000_000, FIGURES), capacity.needs(50_000, FIGURES)
    node = (FIGURES.node_cores - 1) * capacity.calls_per_core(FIGURES)
    for number in (million.workers, million.nodes, round(million.http_per_s), node, cell.nodes):
        assert f"{number:,}" in text
    relayed = million.packets_per_s * FIGURES.relayed / 1e6
    assert f"{relayed:.1f} million packets" in text
    assert f"{round(cell.opened_per_s)} calls opened" in text
    assert f"{cell.down_gbps:.1f} Gbit/s out and {cell.up_gbps:.1f} in" in text
    assert f"{round(cell.redis_per_s, -1):.0f} requests to Redis" in text
    assert 1_000_000 / 50_000 == 20


def test_what_is_measured_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    row = next(line for line in readme.splitlines() if "CPU per call and second" in line)
    assert f"/ {FIGURES.cpu_ms:g} /" in row
    assert f"{FIGURES.adapter_cpu_ms:g} ms (Deepgram)" in readme
    assert f"| memory per call | {FIGURES.call_mb:g} MB |" in readme
    assert "200 calls took 60% of the core" in readme
    assert FIGURES.core_share == 0.6


def test_what_is_a_setting_is_its_default() -> None:
    assert FIGURES.voice_bps == Settings().opus_bitrate_bps
    assert Settings().lease_s == 15.0


def test_a_packet_by_hand() -> None:
    # 64 kbit/s in 50 packets are 160 bytes; 12 RTP, 16 tag, 8 UDP, 20 IPv4.
    assert capacity.packet_bytes(160) == 216
    assert 216 * 8 * 50 == 86_400
    silent = replace(FIGURES, talk=0.0)
    talking = replace(FIGURES, talk=1.0)
    assert capacity.down_bps(talking) == 86_400
    assert capacity.down_bps(silent) == (5 + 56) * 8 * 50
    assert capacity.up_bps(talking) == (80 + 12 + 56) * 8 * 50
    assert capacity.up_bps(silent) == pytest.approx((1 + 12 + 56) * 8 * 2.5)


def test_a_thousand_calls_by_hand() -> None:
    plain = replace(FIGURES, cpu_ms=4.0, adapter_cpu_ms=1.0, spare=0.25, relayed=0.5, talk=1.0)
    needs = capacity.needs(1000, plain)
    assert needs.calls_per_core == 120
    assert needs.workers == 11  # 8.33 and a quarter more
    assert needs.nodes == 1
    assert needs.cores == 5.0
    assert needs.memory_gb == pytest.approx((11 * plain.process_mb + 500) / 1000)
    assert needs.packets_per_s == 100_000
    # Half of the calls, both ways, in and out.
    assert needs.turn_gbps == pytest.approx(0.5 * 1000 * (86_400 + 59_200) * 2 / 1e9)
    assert needs.opened_per_s == pytest.approx(1000 / 180)


def test_other_figures_than_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        capacity.for_others(["--calls", "500", "--cpu-ms", "8.8", "--adapter-cpu-ms", "1.2"]) == 0
    )
    out = capsys.readouterr().out
    assert "**60**" in out
    assert "| calls at once | 500 |" in out
