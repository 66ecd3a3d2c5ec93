"""No allocation in steady state: requests for memory counted over 10,000 blocks of each path.

The rule: after warm-up no kernel asks the C library for memory. What a method returns to Python
is an object, and so allocated, but not from there: objects up to 512 bytes come from the
interpreter's arenas and array data up to 1,024 bytes from NumPy's cache. The one path that
returns more, a VAD frame, may ask once a frame.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE / "c" / "preload" / "count_allocations.c"
BLOCKS = 10_000
ALLOWED = {"vad_frames": BLOCKS}

# A dictionary that grows or a freelist that is filled: nothing that goes on.
SLACK = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="counts in glibc"),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer is the allocator"
    ),
]


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    library = tmp_path_factory.mktemp("preload") / "count_allocations.so"
    compiler = os.environ.get("CC", "cc")
    flags = ["-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fno-builtin"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(library)], check=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONMALLOC"}
    environment |= {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(HERE / "allocations.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    return json.loads(done.stdout)


def test_the_counter_sees_a_deliberate_allocation(counts: dict[str, int]) -> None:
    assert counts["deliberate"] >= BLOCKS
    assert counts["nothing"] <= SLACK


@pytest.mark.parametrize(
    "path",
    [
        "jitter_buffer",
        "ring",
        "own_arrays",
        "splitter",
        "silero",
        "features",
        "vad_frames",
        "opus_decode",
        "opus_encode",
        "resample",
        "g711_both_ways",
        "inbound_opus",
        "inbound_g711",
        "inbound_tapped",
        "reports_and_feedback",
        "outbound",
        "cancelled_echo",
    ],
)
def test_no_allocation_in_steady_state(path: str, counts: dict[str, int]) -> None:
    assert counts[path] <= ALLOWED.get(path, 0) + SLACK
