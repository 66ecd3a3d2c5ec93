"""The seeded network of the load tool does what it is asked for, and the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from load.impairment import Fates, Impairment, fates, parsed

COUNT = 40_000


def runs(made: Fates) -> list[int]:
    """Lengths of the losses in a row."""
    lost = np.concatenate([[0], made["copies"] == 0, [0]]).astype(int)
    edges = np.flatnonzero(np.diff(lost))
    return (edges[1::2] - edges[::2]).tolist()


def share_lost(made: Fates) -> float:
    return float((made["copies"] == 0).mean())


def test_a_seed_repeats_and_another_does_not() -> None:
    network = Impairment(loss=0.05, jitter_ms=10, reorder=0.01, duplicate=0.01)
    assert (fates(network, COUNT, 1) == fates(network, COUNT, 1)).all()
    assert (fates(network, COUNT, 1) != fates(network, COUNT, 2)).any()


def test_a_network_is_written_as_text() -> None:
    assert parsed("loss=0.05,burst=2") == Impairment(loss=0.05, burst=2)
    assert parsed("") == Impairment()
    with pytest.raises(ValueError, match="'lost' is none of"):
        parsed("lost=1")
    with pytest.raises(ValueError, match="much"):
        parsed("loss=much")


def test_a_perfect_network_does_nothing() -> None:
    made = fates(Impairment(), COUNT, 1)
    assert (made["copies"] == 1).all()
    assert (made["delay_us"] == 0).all()


@pytest.mark.parametrize("burst", [1, 2, 3])
@pytest.mark.parametrize("loss", [0.02, 0.05, 0.1])
def test_loss_is_as_asked(loss: float, burst: int) -> None:
    assert share_lost(fates(Impairment(loss=loss, burst=burst), COUNT, 3)) == pytest.approx(
        loss, rel=0.12
    )


def test_bursts_of_exactly_n_are_exactly_n() -> None:
    assert set(runs(fates(Impairment(loss=0.1, burst=2), COUNT, 4))) == {2}
    assert set(runs(fates(Impairment(loss=0.05, burst=5), COUNT, 4))) == {5}


def test_gilbert_bursts_have_their_mean_length() -> None:
    made = fates(Impairment(loss=0.05, gilbert_burst=4), 5 * COUNT, 5)
    assert share_lost(made) == pytest.approx(0.05, rel=0.15)
    assert np.mean(runs(made)) == pytest.approx(4, rel=0.15)


def test_jitter_keeps_the_order_and_reordering_does_not() -> None:
    def arrivals_ms(network: Impairment) -> np.ndarray:
        return 20.0 * np.arange(COUNT) + fates(network, COUNT, 6)["delay_us"] / 1000

    assert (np.diff(arrivals_ms(Impairment(delay_ms=50, jitter_ms=30))) > -0.01).all()
    overtaken = np.diff(arrivals_ms(Impairment(reorder=0.02))) < 0
    assert overtaken.mean() == pytest.approx(0.02, rel=0.2)


def test_duplicates_are_sent_twice() -> None:
    assert (fates(Impairment(duplicate=0.1), COUNT, 7)["copies"] == 2).mean() == pytest.approx(
        0.1, rel=0.1
    )
