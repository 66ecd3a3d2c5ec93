"""The process: command line, event loop, signals, exit codes.

SIGTERM lets calls end by themselves (``drain_timeout_s``), SIGINT ends all at once; a second
signal cuts either short. With ``workers`` this process is their supervisor, or one of them
(``workers``).

Exit codes: 0 after a signal, 1 when an engine can't start or shutting down
took too long, 2 when settings or the port can't be used, 130 when cut short.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from voicecore.errors import EngineError, MissingLibraryError, MisuseError
from voicecore.service import cli, memory
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError, load
from voicecore.service.ending import Ending
from voicecore.service.logs import configure_logging
from voicecore.service.secret_text import masked
from voicecore.service.workers.division import worker_count
from voicecore.service.workers.place import Place

if TYPE_CHECKING:
    from voicecore.service.server import Server

_log = logging.getLogger("voicecore.service")

SHUTDOWN_S = 4.5
"""For an orderly end; after it whatever still runs is abandoned."""
HARD_EXIT_S = 4.9
"""A thread that never returns can't keep the process beyond this."""

SWITCH_INTERVAL_S = 0.001
"""How long an agent's own thread may hold the GIL while the event loop wants it: each
wake-up of the loop waits for that. CPython's 5 ms would be most of a tick."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service with ``argv`` (default: the process's) until a signal; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["probe"]:
        from voicecore.service.probe.cli import main as probe

        return probe(argv[1:])
    try:
        flags, config_file, show = cli.parse(argv)
        if show.startswith("engines"):
            return _list_engines(flags, config_file, as_json=show == "engines-json")
        loaded = load(flags, config_file)
        place = Place.find(os.environ)
    except ConfigError as error:
        return _complain([*error.problems, *_further_problems(error)])
    except MisuseError as error:
        return _complain([str(error)])
    if show:
        from voicecore.service.print_config import render

        sys.stdout.write(render(loaded))
        return 0
    settings = loaded.settings
    worker = None if place is None else place.index
    configure_logging(settings.log_level, settings.log_format, worker)
    report = _reporter(settings.log_format, worker)
    try:
        if place is None:
            for warning in loaded.warnings:
                _log.warning("%s", warning)
            if worker_count(settings) > 1:
                return _supervise(settings, argv, report)
        return _serve(settings, place, report)
    except ConfigError as error:
        return _complain(error.problems)
    except KeyboardInterrupt:
        return 130


def _supervise(settings: Settings, argv: Sequence[str], report: Callable[[str], None]) -> int:
    # Late, for most services are one process.
    from voicecore.service.workers.supervisor import supervise

    report("voicecore is loading")
    return supervise(settings, argv, report)


def _serve(settings: Settings, place: Place | None, report: Callable[[str], None]) -> int:
    # The only import of uvloop: everything else runs on any event loop.
    import uvloop

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, place, report))


def _list_engines(flags: Mapping[str, Any], config_file: str | None, *, as_json: bool) -> int:
    """Also where the settings are wrong: who misspelt a name wants to see the names."""
    # Late, for it looks at engines' modules, which a service that runs does by itself.
    from voicecore.service import engine_list

    try:
        settings = load(flags, config_file).settings
    except ConfigError as error:
        _complain([*error.problems, "listed are the engines as the defaults have them"])
        settings = Settings()
    listed = engine_list.collect(settings)
    sys.stdout.write(engine_list.as_json(listed) if as_json else engine_list.render(listed))
    return 0


def _further_problems(error: ConfigError) -> list[str]:
    """What is wrong with engines whose names are right, though other settings are wrong."""
    if error.rest is None:
        return []
    from voicecore.service.engine_factory import build_engines

    try:
        build_engines(error.rest)
    except ConfigError as further:
        known = tuple(f"{name} = " for name in error.wrong)
        return [problem for problem in further.problems if not problem.startswith(known)]
    return []


def _complain(problems: Sequence[str]) -> int:
    for problem in problems:
        print(masked(f"voicecore: {problem}"), file=sys.stderr)
    return 2


def _reporter(log_format: str, worker: int | None) -> Callable[[str], None]:
    """Progress and banner: plain lines for people, log records where machines read."""
    if log_format == "json":
        return lambda line: _log.info("%s", line.strip())
    who = "" if worker is None else f"worker {worker}: "
    return lambda line: print(f"{who}{line}", flush=True)


def _build(
    settings: Settings, place: Place | None, report: Callable[[str], None], ending: Ending
) -> Server:
    # Late, so that a wrong setting is told without loading the web stack.
    if place is None:
        from voicecore.service.server import Server

        return Server(settings, report, ending=ending)
    from voicecore.service.workers.worker import build_worker

    return build_worker(settings, place, report, ending)


async def _run(settings: Settings, place: Place | None, report: Callable[[str], None]) -> int:
    alone = place is None
    if alone:
        report("voicecore is loading")
    memory.keep_flat()
    ending = Ending(settings.drain_timeout_s)
    _install_signals(ending, report if alone else _nobody, alone=alone)
    server = _build(settings, place, report, ending)
    code = 0
    try:
        if await _unless(server.start(), ending.asked):
            memory.spare_what_is_loaded()
            # Of several workers their supervisor tells it, once.
            for line in (*server.banner(), "  Ctrl-C stops.") if alone else ():
                report(line)
            await ending.asked.wait()
            if ending.drains:
                if alone:
                    report("stopping: calls may end by themselves; again to stop at once")
                await _unless(server.drain(), ending.at_once)
    except ConfigError as error:
        code = _complain(error.problems)
    except (EngineError, MissingLibraryError) as error:
        print(masked(f"voicecore: {error}"), file=sys.stderr)
        code = 1
    except Exception:
        # By the log, which knows what mustn't be shown of a traceback.
        _log.critical("running failed unexpectedly", exc_info=True)
        code = 1
    server.stop_admitting()
    _bound_the_end()
    try:
        async with asyncio.timeout(SHUTDOWN_S):
            await server.close()
    except TimeoutError:
        _log.error("shutting down took over %s s; giving up", SHUTDOWN_S)
        code = 1
    return code


async def _unless(work: Coroutine[None, None, None], event: asyncio.Event) -> bool:
    """Whether ``work`` came to its end before ``event`` was set."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def _bound_the_end() -> None:
    """From now on the process has so long to end, whatever hangs."""
    watchdog = threading.Timer(HARD_EXIT_S, os._exit, (1,))
    watchdog.daemon = True
    watchdog.start()


def _nobody(line: str) -> None:
    """Takes what a supervisor says already."""


def _install_signals(ending: Ending, report: Callable[[str], None], *, alone: bool = True) -> None:
    """SIGTERM: drain. SIGINT: end in order, in 5 s at most. A second signal: end now.

    A drain that was asked for otherwise counts as none: who stops a container does that
    first, and has SIGTERM sent then. A worker may be told to end by its supervisor and by
    who told that (systemd signals every process of a service), and SIGTERM is also how it
    hears of a drain that was asked for otherwise: only a second SIGINT ends it now.
    """
    loop = asyncio.get_running_loop()
    numbers: list[int] = []

    def on_signal(number: int) -> None:
        if numbers and (alone or (number == signal.SIGINT and number in numbers)):
            os._exit(130)
        numbers.append(number)
        if number == signal.SIGTERM:
            ending.drain()
            return
        report("stopping: calls are hung up; again to stop at once")
        _bound_the_end()
        ending.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)


if __name__ == "__main__":
    sys.exit(main())
