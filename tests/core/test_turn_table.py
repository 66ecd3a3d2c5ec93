from __future__ import annotations

from pathlib import Path

import pytest

from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turn_table import TABLE, mermaid

EVENTS = ev.ALL_EVENTS


def test_every_handler_says_what_it_does() -> None:
    for handler, _ in TABLE.values():
        assert callable(handler)
        assert handler.__doc__


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.__name__)
def test_every_event_is_possible_somewhere(event: type[ev.Event]) -> None:
    alive = [state for state in State if state is not State.ENDED and (state, event) in TABLE]
    assert alive


def test_nothing_leaves_the_end() -> None:
    for (state, _), (_, leads_to) in TABLE.items():
        if state is State.ENDED:
            assert leads_to == {State.ENDED}


def test_every_state_can_hang_up() -> None:
    for state in State:
        assert (state, ev.Hangup) in TABLE


def test_the_diagram_in_the_documents_is_the_table() -> None:
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert mermaid() in text, "run python -m voicecore.core.turn_table and paste its output"
