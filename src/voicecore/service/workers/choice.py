"""Which worker gets the next call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from voicecore.service.workers.board import Slot, WorkerState


def best(
    slots: Sequence[Slot],
    *,
    own: int,
    on_the_way: Mapping[int, int],
    tried: Collection[int],
    now_ns: int,
) -> int | None:
    """The worker that a call is best opened at; None: nobody else has room.

    Whole engines come first, then little overload, then few calls. ``on_the_way`` counts
    what ``own`` has sent to each worker and not heard of yet: else all requests of a burst
    would go to whom the first of them goes to. Where others are no better it is ``own``,
    for passing on costs a hop; then the next behind it, so that not all choose the same.
    """
    open_slots = [s for s in slots if s.has_room(now_ns) and s.worker not in tried]
    if not open_slots:
        return None

    def rank(slot: Slot) -> tuple[bool, int, int, int]:
        return (
            slot.state is WorkerState.IMPAIRED,
            slot.level,
            slot.active + on_the_way.get(slot.worker, 0),
            (slot.worker - own) % len(slots),
        )

    return min(open_slots, key=rank).worker
