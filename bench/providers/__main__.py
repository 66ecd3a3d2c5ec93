"""``python -m providers`` (``make bench-engines``): adapters -> build/bench/engines.json.

``--only faults,overlap`` runs some parts. Recorded speech is taken from ``VOICECORE_CASES``,
else ../shared/cases; what needs it is not measured where there is none.
"""

from __future__ import annotations

import logging
import sys

from parts import Part, run_parts
from providers import blocked, fault_table, overhead, overlap, reconnecting
from turns.cases import cases_dir

PARTS: dict[str, Part] = {
    "faults": fault_table.measure,
    "reconnecting": lambda report: reconnecting.measure(report, cases_dir()),
    "overlap": overlap.measure,
    "overhead": overhead.measure,
    "blocked": blocked.measure,
}

if __name__ == "__main__":
    # Failing providers are the matter here; that they are left alone needn't be told.
    logging.getLogger("voicecore").setLevel(logging.ERROR)
    sys.exit(run_parts("providers", "engines", __doc__, PARTS))
