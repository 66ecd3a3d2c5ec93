"""The media plane's C without Python, under the sanitizers: map, demultiplexer, all its threads.

``VOICECORE_FUZZ`` is the number of fuzzed datagrams, ``VOICECORE_STRESS_MS`` how long the
threads are stressed.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "c"
NATIVE = Path(__file__).parents[2] / "src" / "voicecore" / "_native" / "c"
FLAGS = ["-O1", "-g1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{NATIVE}",
         f"-I{HERE}", f"-I{HERE / 'plane'}", f"-I{HERE / 'threads'}"]  # fmt: skip
PARTS = [
    "address_map", "echo_canceller", "echo_guard", "echo_reference", "plane", "plane_hear",
    "plane_peer", "plane_queue", "plane_rx", "plane_tx", "plane_vad", "rtcp_cc_arrivals",
    "rtcp_cc_sent", "rtcp_read", "rtcp_write", "resample_prototype", "resample_design",
    "resample_fir", "simd_base",
]  # fmt: skip
INPUTS = os.environ.get("VOICECORE_FUZZ") or "400000"
STRESS_MS = os.environ.get("VOICECORE_STRESS_MS") or "3000"

pytestmark = pytest.mark.slow


def check(program: Path, parts: list[str], tmp_path: Path, amount: str, sanitizer: str) -> None:
    target = tmp_path / "check"
    # The sanitizer of this process, if there is one, is not the program's.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    environment |= {"ASAN_OPTIONS": "detect_leaks=1", "TSAN_OPTIONS": "halt_on_error=0"}
    sanitize = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    sources = [str(program), *(str(NATIVE / f"{part}.c") for part in parts)]
    command = [os.environ.get("CC", "cc"), *FLAGS, *sanitize, *sources, "-lm", "-o", str(target)]
    subprocess.run(command, check=True, env=environment)
    seed = os.environ.get("VOICECORE_SEED") or str(random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    done = subprocess.run(
        [str(target), seed, amount],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    print(done.stdout[-2000:])
    if sanitizer == "thread" and "unexpected memory mapping" in done.stderr:
        pytest.skip("this kernel's address space is too random for the thread sanitizer")
    assert done.returncode == 0, done.stderr[:6000]


def test_address_map_against_a_plain_array(tmp_path: Path) -> None:
    program = HERE / "plane" / "address_map_check.c"
    check(program, ["address_map"], tmp_path, "200000", "address,undefined")


def test_loss_map_against_plain_arrays(tmp_path: Path) -> None:
    """What was lost, whatever the far end told of whichever packet."""
    program = HERE / "plane" / "loss_map_check.c"
    check(program, [], tmp_path, "40000", "address,undefined")


def test_reports_are_told_in_time(tmp_path: Path) -> None:
    parts = [part for part in PARTS if part != "plane_hear"]
    program = HERE / "plane" / "report_news_check.c"
    check(program, parts, tmp_path, "0", "address,undefined")


def test_datagrams_through_the_demultiplexer(tmp_path: Path) -> None:
    parts = [part for part in PARTS if part != "plane_rx"]
    check(HERE / "plane" / "demux_fuzz.c", parts, tmp_path, INPUTS, "address,undefined")


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_all_threads_under_stress(sanitizer: str, tmp_path: Path) -> None:
    """Peers and ports come and go, are routed and flooded, while both directions run."""
    check(HERE / "threads" / "plane_stress.c", PARTS, tmp_path, STRESS_MS, sanitizer)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="counts in glibc")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="it is the allocator")
def test_no_allocation_in_steady_state(tmp_path: Path) -> None:
    """Calls of every profile, with all that can be switched on: the threads ask for no memory."""
    library = tmp_path / "count_allocations.so"
    flags = ["-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fno-builtin"]
    source = HERE / "preload" / "count_allocations.c"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONMALLOC"}
    environment |= {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(HERE.parent / "plane_allocations.py")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    found = json.loads(done.stdout)
    assert found.pop("deliberate")["asked"] >= 100
    assert len(found) == 4
    assert all(counts["packets"] >= 100 for counts in found.values())
    assert [counts["asked"] for counts in found.values()] == [0] * 4
