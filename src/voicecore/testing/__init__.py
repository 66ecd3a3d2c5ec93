"""Whether an engine does what its Protocol promises, for who writes one.

``python -m voicecore.testing module:Class --stage stt`` prints a report; in tests,
``report = await check_stt(make_engine)`` or the lists of :mod:`.conformance`. See
docs/engines/write-your-own.md. Needs no test runner.
"""

from voicecore.testing import conformance
from voicecore.testing.checking import Bench, Check, NotApplicable, NotConforming, Report, Result
from voicecore.testing.conformance import (
    check_engine,
    check_llm,
    check_stt,
    check_tts,
    check_turn,
    check_vad,
)

__all__ = [
    "Bench",
    "Check",
    "NotApplicable",
    "NotConforming",
    "Report",
    "Result",
    "check_engine",
    "check_llm",
    "check_stt",
    "check_tts",
    "check_turn",
    "check_vad",
    "conformance",
]
