"""Every instruction set against plain C, here and (emulated) on aarch64; and the choice."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from voicecore._native import simd

HERE = Path(__file__).parent / "c"
NATIVE = Path(__file__).parents[2] / "src" / "voicecore" / "_native" / "c"
FLAGS = ["-O2", "-std=gnu11", "-fno-math-errno", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]


def build(compiler: str, target: Path, *more: str) -> Path:
    sources = [*sorted(HERE.glob("*.c")), *sorted(NATIVE.glob("simd_*.c"))]
    sources += [NATIVE / "silero_pack.c"]
    objects = [target.with_name(f"{source.stem}.o") for source in sources]

    def compile_one(source: Path, made: Path) -> None:
        subprocess.run([compiler, *FLAGS, *more, "-c", source, "-o", made], check=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, sources, objects))
    subprocess.run([compiler, *more, *objects, "-o", target, "-lm"], check=True)
    return target


def run(*command: str) -> str:
    seed = os.environ.get("VOICECORE_SEED") or str(random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    done = subprocess.run([*command, seed], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.isa
def test_all_that_this_machine_runs(tmp_path: Path) -> None:
    out = run(str(build(os.environ.get("CC", "cc"), tmp_path / "check")))
    assert out.split() == [word for isa in simd.available() for word in (isa, "checked")]


@pytest.mark.isa
def test_without_vectors(tmp_path: Path) -> None:
    """What a machine with neither SSE2 nor NEON would run, under every table's name."""
    out = run(str(build(os.environ.get("CC", "cc"), tmp_path / "check", "-DVC_SCALAR", "-O2")))
    assert out.split() == [word for isa in simd.available() for word in (isa, "checked")]


@pytest.mark.isa
@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64-static")),
    reason="needs Debian's gcc-aarch64-linux-gnu and qemu-user-static",
)
def test_neon_emulated(tmp_path: Path) -> None:
    check = build("aarch64-linux-gnu-gcc", tmp_path / "check", "-static")
    assert run("qemu-aarch64-static", str(check)) == "neon checked\n"


def imported_with(isa: str) -> subprocess.CompletedProcess[str]:
    code = "from voicecore._native import simd; print(simd.isa())"
    environment = os.environ | {"VOICECORE_ISA": isa}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_the_environment_overrides_the_choice() -> None:
    for isa in simd.available():
        assert imported_with(isa).stdout == f"{isa}\n"


def test_an_instruction_set_that_is_not_there_is_refused() -> None:
    done = imported_with("mmx")
    assert done.returncode != 0
    assert f"this machine has {', '.join(simd.available())}" in done.stderr
