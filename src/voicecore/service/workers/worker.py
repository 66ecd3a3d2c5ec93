"""A worker's side of ``--workers``: what differs from a process that is the whole service."""

from __future__ import annotations

from collections.abc import Callable

from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.directory import Directory
from voicecore.service.ending import Ending
from voicecore.service.engine_factory import Engines
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.overload import cpu_budget
from voicecore.service.server import Server
from voicecore.service.workers.board import Board
from voicecore.service.workers.division import part_of
from voicecore.service.workers.member import Member
from voicecore.service.workers.place import WORKER, Place, end_with


def build_worker(
    settings: Settings, place: Place, report: Callable[[str], None], ending: Ending
) -> Server:
    """The server of the worker at ``place``; ``settings`` are the host's.

    Needs a running loop. Raises ConfigError if the supervisor is dead already.
    """
    try:
        board = Board(place.folder)
    except OSError:
        raise _orphaned() from None
    if not end_with(board.supervisor_pid):
        raise _orphaned()
    member = Member(place, board, settings.instance, allow=ending.allow)
    part = part_of(settings, place.index, board.count, place.folder)

    def manager(
        settings: Settings, engines: Engines, metrics: Metrics, directory: Directory
    ) -> CallManager:
        from voicecore.service.calls import Calls

        return Calls(
            settings,
            engines,
            metrics,
            directory=directory,
            session_ids=member.session_ids(),
            cpus=cpu_budget() / board.count,
        )

    return Server(part, report, manager, ending, member)


def _orphaned() -> ConfigError:
    return ConfigError([f"the process that {WORKER} speaks of is gone: unset it"])
