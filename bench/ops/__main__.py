"""``python -m ops`` (``make bench-ops``): the bars of operation -> build/bench/ops.json.

``--only half-open,burst`` runs some parts. Each starts services of its own, with engines
that answer from a script: what is measured is everything around them.
"""

from __future__ import annotations

import sys

from ops import burst, fuzz, half_open, rolling, schema
from parts import Part, run_parts

PARTS: dict[str, Part] = {
    "burst": burst.measure,
    "rolling": rolling.measure,
    "half-open": half_open.measure,
    "schema": schema.measure,
    "fuzz": fuzz.measure,
}

if __name__ == "__main__":
    sys.exit(run_parts("ops", "ops", __doc__, PARTS))
