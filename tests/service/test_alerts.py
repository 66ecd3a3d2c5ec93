"""Each alert fires on what it is for and on nothing else: Prometheus' own tool says so."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fakes.promql import ALERTS, alerts

pytestmark = pytest.mark.slow

MINUTES = 30
OF = 'job="voicecore",instance="a"'

Series = dict[str, str]
"""Values by series, one a minute, in promtool's notation."""


def grows(name: str, by: float, labels: str = "") -> Series:
    return {series(name, labels): f"0+{by}x{MINUTES}"}


def stays(name: str, at: float, labels: str = "") -> Series:
    return {series(name, labels): f"{at}x{MINUTES}"}


def series(name: str, labels: str = "") -> str:
    return f"{name}{{{OF}{',' if labels else ''}{labels}}}"


def histogram(name: str, counts: dict[str, float], labels: str = "") -> Series:
    """``counts``: by upper edge, cumulative, what comes each minute; the last is all."""
    found: Series = {}
    more = f"{labels}," if labels else ""
    for edge, count in counts.items():
        found |= grows(f"{name}_bucket", count, f'{more}le="{edge}"')
    return found | grows(f"{name}_count", counts["+Inf"], labels)


def ice(connected: float, failed: float) -> Series:
    return grows("voicecore_ice_results_total", connected, 'result="connected"') | grows(
        "voicecore_ice_results_total", failed, 'result="failed"'
    )


def unanswered() -> Series:
    return grows("voicecore_ice_results_total", 100, 'result="unanswered"')


def turn(up: int, position: int = 1) -> Series:
    return stays("voicecore_turn_up", up, f'position="{position}",transport="udp"')


def engine(state: str, stage: str = "stt", name: str = "near") -> Series:
    found: Series = {}
    for one in ("up", "down", "unknown"):
        labels = f'stage="{stage}",engine="{name}",state="{one}"'
        found |= stays("voicecore_engine_state", float(one == state), labels)
    return found


def refused(reason: str) -> Series:
    return grows("voicecore_calls_refused_total", 1, f'reason="{reason}"')


def calls(active: int) -> Series:
    return stays("voicecore_calls_active", active) | stays("voicecore_calls_limit", 100)


def failures(share: float) -> Series:
    return grows("voicecore_engine_failures_total", 100 * share, 'stage="llm",code="x"') | grows(
        "voicecore_turns_total", 100
    )


def quality(below: float) -> Series:
    counts = {"3.5": 100 * below, "+Inf": 100.0}
    return histogram("voicecore_mos", counts, 'direction="out"')


def lateness(counts: dict[str, float]) -> Series:
    return histogram("voicecore_event_loop_lateness_seconds", counts)


def late_packets(in_time: float) -> Series:
    return histogram("voicecore_tx_late_seconds", {"0.01": in_time, "+Inf": 1000})


def answers(within_2_s: float) -> Series:
    counts = {"1": 0.0, "2": within_2_s, "3": 100.0, "+Inf": 100.0}
    return histogram("voicecore_response_seconds", counts)


def deep_checks(result: str, stage: str, by: float) -> Series:
    labels = f'result="{result}",stage="{stage}"'
    return grows("voicecore_deep_checks_total", by, labels)


CASES: list[tuple[set[str], Series]] = [
    ({"VoicecoreDown"}, stays("up", 0)),
    (set(), stays("up", 1)),
    ({"VoicecoreIceSuccessLow"}, ice(90, 10)),
    (set(), ice(99, 1) | unanswered()),
    (set(), ice(0.5, 0.5)),
    ({"VoicecoreNoRelay"}, grows("voicecore_ice_no_relay_total", 1, 'reason="timeout"')),
    (set(), stays("voicecore_ice_no_relay_total", 7, 'reason="timeout"')),
    ({"VoicecoreTurnDown"}, turn(0) | turn(1, position=2)),
    (set(), turn(1)),
    ({"VoicecoreSlowAnswers"}, answers(50)),
    (set(), answers(99)),
    ({"VoicecoreEngineDown"}, engine("down") | engine("up", name="far")),
    ({"VoicecoreEngineDown", "VoicecoreStageDown"}, engine("down") | engine("up", "llm")),
    (set(), engine("up") | engine("unknown", "tts")),
    ({"VoicecoreLoopLate"}, lateness({"0.05": 90, "0.1": 100, "+Inf": 100})),
    (set(), lateness({"0.05": 100, "0.1": 100, "+Inf": 100})),
    ({"VoicecorePacketsLate"}, late_packets(980)),
    (set(), late_packets(999)),
    ({"VoicecoreCallsRefused"}, refused("at_capacity")),
    (set(), refused("draining") | refused("key_missing")),
    ({"VoicecoreNearlyFull"}, calls(90)),
    (set(), calls(80)),
    ({"VoicecoreOverloaded"}, stays("voicecore_overload_level", 3)),
    (set(), stays("voicecore_overload_level", 2)),
    ({"VoicecoreSoundsBad"}, quality(0.2)),
    (set(), quality(0.05)),
    ({"VoicecoreRepliesFail"}, failures(0.1)),
    (set(), failures(0.01)),
    ({"VoicecoreDirectoryDown"}, stays("voicecore_directory_up", 0)),
    (set(), stays("voicecore_directory_up", 1)),
    ({"VoicecoreWorkersRestart"}, grows("voicecore_worker_restarts_total", 1)),
    (set(), stays("voicecore_worker_restarts_total", 5)),
    ({"VoicecoreDeepCheckFails"}, deep_checks("failed", "ice", 1)),
    (set(), deep_checks("ok", "none", 1)),
    (set(), deep_checks("failed", "stt", 0.1)),
]


def case(fires: set[str], values: Series) -> dict[str, Any]:
    return {
        "name": f"{' and '.join(sorted(fires)) or 'nothing'} from {next(iter(values))}",
        "interval": "1m",
        "input_series": [{"series": name, "values": rest} for name, rest in values.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{MINUTES}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(fires)
                ],
            }
        ],
    }


def test_each_fires_on_what_it_is_for(tmp_path: Path) -> None:
    command = shutil.which("promtool")
    if command is None:
        pytest.skip("there is no promtool (apt-get install prometheus)")
    fired = {name for fires, _ in CASES for name in fires}
    assert fired == {rule["alert"] for rule in alerts()}
    tests = [case(*each) for each in CASES]
    rules = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    # YAML takes JSON.
    (tmp_path / "tests.yml").write_text(json.dumps(rules))
    for words in (["check", "rules", str(ALERTS)], ["test", "rules", str(tmp_path / "tests.yml")]):
        done = subprocess.run([command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_a_configuration_is_one() -> None:
    command = shutil.which("promtool")
    if command is None:
        pytest.skip("there is no promtool (apt-get install prometheus)")
    config = ALERTS.with_name("prometheus.yml")
    done = subprocess.run(
        [command, "check", "config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
