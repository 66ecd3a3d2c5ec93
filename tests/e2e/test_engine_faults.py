"""What a caller hears when a provider fails, in every adapter; and that no word is lost."""

from __future__ import annotations

import pytest
import uvloop

from providers import fault_table, reconnecting
from providers.recorded import recorded
from providers.subjects import SUBJECTS
from turns.cases import cases_dir

pytestmark = [pytest.mark.e2e, pytest.mark.realtime]


def test_every_fault_of_every_adapter_is_heard_of_in_time_and_leaves_nothing() -> None:
    cells, left = uvloop.run(fault_table.table(SUBJECTS))
    assert [cell for cell in cells if not cell.good] == []
    assert len(cells) == 10 * len(SUBJECTS)
    assert left == {"tasks": 0, "descriptors": 0, "processes": 0}


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if s.live], ids=lambda s: s.name)
def test_recorded_speech_is_understood_whole_over_a_dying_connection(
    subject: fault_table.Subject,
) -> None:
    folder = cases_dir()
    recording = recorded(folder) if folder is not None else None
    if recording is None:
        pytest.skip("there are no recordings (VOICECORE_CASES)")
    work = reconnecting.disturbances(subject, recording, runs=1, seconds=6.0, seed=11)
    whole, *disturbed = uvloop.run(work)
    said = [word for word, _, end_s in recording.words if end_s <= 6.0]
    assert whole.text.split() == said
    for result in disturbed:
        assert result.text == whole.text, result
        assert result.detected_s is not None, result
        if result.what == "half-open":
            assert result.detected_s <= 2.1
