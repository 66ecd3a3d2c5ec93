"""What the client says of its jitter buffer tells what the caller had heard when he began."""

from __future__ import annotations

import pytest

from fakes.virtual_loop import virtually
from service.test_call import Rig

WORD_SAMPLES = 4800
"""Ten words in 2 s, at 24 kHz."""


@pytest.mark.parametrize(
    ("message", "buffer_ms"),
    [
        (None, 60),
        ('{"type": "playout", "buffer_ms": 0}', 0),
        ('{"type": "playout", "buffer_ms": 412.5}', 412.5),
        ('{"type": "playout", "buffer_ms": 5000}', 5000),
        ('{"type": "playout", "buffer_ms": 5001}', 60),
        ('{"type": "playout", "buffer_ms": -1}', 60),
        ('{"type": "playout", "buffer_ms": NaN}', 60),
        ('{"type": "playout", "buffer_ms": "412"}', 60),
        ('{"type": "playout", "buffer_ms": null}', 60),
        ('{"type": "playout"}', 60),
    ],
)
def test_what_waits_at_the_client_was_not_heard_yet(message: str | None, buffer_ms: float) -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        if message is not None:
            rig.call.on_message(message)
        await rig.speak()
        await rig.plane.run(540)
        await rig.plane.run(1000)
        played = rig.plane.played
        await rig.speak(200)
        cut = rig.call.conversation.messages[-1]
        words = rig.llm.tokens[0].split()
        assert cut.text == " ".join(words[: round(played / WORD_SAMPLES)])
        heard = max(round((played - buffer_ms * 24) / WORD_SAMPLES), 0)
        assert cut.heard_when_began == " ".join(words[:heard])
        await rig.close()

    virtually(main())
