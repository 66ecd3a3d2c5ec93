"""Real calls: everything in this folder is marked ``e2e``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import playwright.async_api
import pytest
from aioice import ice

from caller.server import Server, running
from e2e.patience import TooLate
from e2e.spoken import acknowledgement, command, remark
from stalls import Stalls, watched

HERE = Path(__file__).parent

OPERATION = {
    f"test_{name}.py"
    for name in (
        "admin_page", "cluster", "drain", "limits", "locked_doors", "observed", "probe", "turn",
        "workers",
    )
}  # fmt: skip
"""What is around calls. These wait for processes and servers, hardly for the clock, so they may
run beside something that keeps the processors busy."""

STILL_SHARE = 0.15
"""What was too late while the machine stood still for more of the time proves nothing."""

INCONCLUSIVE_LIMIT = 3
"""After so many there is no sense in trying more: each may wait for minutes."""


_TOO_LATE = (TooLate, TimeoutError, playwright.async_api.TimeoutError)


class Machine:
    """What the watchers of the machine's stalls saw (``bench/stalls.py``)."""

    stalls: Stalls | None = None
    inconclusive = 0


@pytest.fixture(scope="session", autouse=True)
def machine() -> Iterator[type[Machine]]:
    with watched() as stalls:
        Machine.stalls = stalls
        yield Machine


def pytest_runtest_setup(item: pytest.Item) -> None:
    if HERE in item.path.parents and Machine.inconclusive >= INCONCLUSIVE_LIMIT:
        pytest.skip("not tried: real-time tests are inconclusive while the machine stands still")


# The innermost wrapper: who gives a second try must not see a failure that is none, for it would
# keep the fixtures of the last test, and nobody tear them down.
@pytest.hookimpl(hookwrapper=True, trylast=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if HERE not in item.path.parents or Machine.stalls is None or call.excinfo is None:
        return
    if not report.failed or not issubclass(call.excinfo.type, _TOO_LATE):
        return
    now_ns = time.monotonic_ns()
    still_s = Machine.stalls.seconds(now_ns - round(call.duration * 1e9), now_ns)
    share = still_s / (call.duration * (os.cpu_count() or 1)) if call.duration else 0.0
    if share > STILL_SHARE:
        Machine.inconclusive += 1
        report.outcome = "skipped"
        reason = f"inconclusive: the machine stood still for {share:.0%} of {call.duration:.0f} s"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {reason}")


@pytest.hookimpl(tryfirst=True)  # before tests/conftest.py reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.path.name in OPERATION:
                item.add_marker(pytest.mark.operation)
            item.add_marker(pytest.mark.realtime)


@pytest.fixture(scope="session", autouse=True)
def surroundings() -> Iterator[None]:
    """No settings of the developer's own; our agents importable by the service."""
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("VOICECORE_")]:
        if name != "VOICECORE_CASES":
            patch.delenv(name)
    paths = [str(HERE / "agents"), os.environ.get("PYTHONPATH", "")]
    patch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    addresses = ice.get_host_addresses
    # On a machine with nothing but loopback a stock client has no address at all.
    patch.setattr(
        ice,
        "get_host_addresses",
        lambda **kinds: addresses(**kinds) or ["127.0.0.1"],
    )
    # Made before the first call: synthesising them would hold a caller up.
    command()
    remark()
    acknowledgement()
    yield
    patch.undo()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    # Without cookies: several callers of one client must not share a session.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """``serve(*flags)``: a service process that lives as long as the test module."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder = tmp_path_factory.mktemp("service")

        def start(*flags: str) -> Server:
            # The machine of a test may be busy with other things.
            flags = ("--overload", "off", *flags)
            log = folder / f"{len(list(folder.iterdir()))}.log"
            return runner.run(stack.enter_async_context(running(*flags, log=log)))

        try:
            yield start
        finally:
            runner.run(stack.aclose())
            for log in sorted(folder.iterdir()):
                # Shown with a failing test; a healthy service has little to say.
                print(log.read_text()[-4000:])
