"""The rows of ``make bench-kernels``: ours, the best peer, their ratio, and the goals."""

from __future__ import annotations

from dataclasses import dataclass, field

from kernels import peak
from report import Bar, Report, load
from voicecore._native import simd


@dataclass
class Row:
    """One race. Times are nanoseconds for one block."""

    name: str
    isa: str
    goal_ratio: float | None = None
    goal_ns: float | None = None
    macs: int | None = None
    times_ns: dict[str, float] = field(default_factory=dict)

    def add(self, who: str, ns: float) -> None:
        """Enter the time of one runner; the least of several counts."""
        self.times_ns[who] = min(ns, self.times_ns.get(who, ns))

    @property
    def ours_ns(self) -> float | None:
        return self.times_ns.get("ours")

    @property
    def peer(self) -> str:
        """The fastest of the others, empty without one."""
        peers = {who: ns for who, ns in self.times_ns.items() if who != "ours"}
        return min(peers, key=peers.__getitem__) if peers else ""

    @property
    def peer_ns(self) -> float | None:
        return self.times_ns.get(self.peer)

    @property
    def ratio(self) -> float | None:
        """How many times as long the best peer takes."""
        if self.ours_ns is None or self.peer_ns is None:
            return None
        return self.peer_ns / self.ours_ns

    @property
    def peak_share(self) -> float | None:
        """Multiply-adds per second over what this core can do at most, 0..1."""
        if self.macs is None or self.ours_ns is None:
            return None
        return self.macs / self.ours_ns / peak.macs_per_ns(self.isa)

    def bars(self) -> list[Bar]:
        """What is to be reached, as bars of the report."""
        bars = []
        if self.goal_ratio is not None:
            title = f"{self.name}, against {self.peer or 'its peer'}"
            bars.append(Bar(title, self.ratio, "x", ">=", self.goal_ratio))
        if self.goal_ns is not None:
            bars.append(Bar(self.name, self.ours_ns, "ns", "<=", self.goal_ns))
        return bars

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "ours_ns": self.ours_ns,
            "peer": self.peer,
            "peer_ns": self.peer_ns,
            "ratio": self.ratio,
            "goal_ratio": self.goal_ratio,
            "goal_ns": self.goal_ns,
            "isa": self.isa,
            "peak_share": self.peak_share,
            "times_ns": self.times_ns,
            "ok": all(bar.ok for bar in self.bars()),
        }

    def line(self) -> str:
        goals = [f"{self.goal_ratio:g}x" if self.goal_ratio else ""]
        goals.append(f"{self.goal_ns:g} ns" if self.goal_ns else "")
        share = "" if self.peak_share is None else f"{100 * self.peak_share:.0f}%"
        mark = "" if not self.bars() else "ok" if self.as_json()["ok"] else "--"
        return (
            f"{mark:3}{self.name:52}{self.isa:7}{_time(self.ours_ns):>10}  "
            f"{self.peer:24}{_time(self.peer_ns):>10}"
            f"{'' if self.ratio is None else f'{self.ratio:.2f}x':>9}"
            f"{' '.join(filter(None, goals)):>14}{share:>7}"
        )


@dataclass
class Table:
    """All rows of a run, in the order in which they were met."""

    rows: dict[str, Row] = field(default_factory=dict)

    def row(
        self,
        name: str,
        *,
        goal_ratio: float | None,
        goal_ns: float | None,
        macs: int | None,
        isa: str | None,
    ) -> Row:
        """The row of that name, made if need be; later goals replace earlier ones."""
        row = self.rows.setdefault(name, Row(name, isa or simd.isa()))
        row.goal_ratio = goal_ratio if goal_ratio is not None else row.goal_ratio
        row.goal_ns = goal_ns if goal_ns is not None else row.goal_ns
        row.macs = macs if macs is not None else row.macs
        return row

    def write(self) -> None:
        """Print the table, write the JSON; nothing if nothing was measured."""
        if not self.rows:
            return
        report = Report("kernels")
        print(f"\n\nns for one block, thread CPU time, minimum; {load()}")
        print(
            f"{'':3}{'':52}{'ISA':7}{'ours':>10}  {'best peer':24}{'':>10}"
            f"{'ratio':>9}{'goal':>14}{'peak':>7}"
        )
        for row in self.rows.values():
            print(row.line())
            report.rows.append(row.as_json())
            report.bars += row.bars()
        reached = sum(bar.ok for bar in report.bars)
        print(f"\n{reached} of {len(report.bars)} bars reached (ok: reached, --: not)")
        report.write(show_bars=False)


def _time(ns: float | None) -> str:
    if ns is None:
        return "-"
    return f"{ns:.0f} ns" if ns < 10_000 else f"{ns / 1000:.1f} µs"
