"""Real calls: everything in this folder is marked ``e2e``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aioice import ice

from caller.server import Server, running

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


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
            log = folder / f"{len(list(folder.iterdir()))}.log"
            return runner.run(stack.enter_async_context(running(*flags, log=log)))

        try:
            yield start
        finally:
            runner.run(stack.aclose())
            for log in sorted(folder.iterdir()):
                # Shown with a failing test; a healthy service has little to say.
                print(log.read_text()[-4000:])
