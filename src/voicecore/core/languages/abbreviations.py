"""Words that are written with a full stop which ends no sentence."""

from __future__ import annotations

from dataclasses import dataclass, field


def words(text: str) -> frozenset[str]:
    """The words of ``text``, without the full stop at their ends."""
    return frozenset(word.removesuffix(".").lower() for word in text.split())


_EVERYWHERE = words("mr. mrs. ms. dr. prof. vs. e.g. i.e. cf. approx.")
_ALSO_LAST = words("etc. inc. ltd. jr. sr. corp. a.m. p.m.")
_WITH_NUMBERS = words("no. nr. art. vol. fig. p. pp. ch. sec. tel. § §§")


@dataclass(frozen=True, slots=True)
class Abbreviations:
    """Of one language; those that are written everywhere need not be given.

    ``never``: something follows: titles, "e.g.". ``maybe``: may be the last word too,
    and is if a capital follows: "etc.". ``numbered``: belong to a number behind them,
    and are ordinary words else: "no."; ``endings``: so do words that end in these.
    ``ordinals``: "3." is "third".
    """

    never: frozenset[str] = frozenset()
    maybe: frozenset[str] = frozenset()
    numbered: frozenset[str] = frozenset()
    endings: tuple[str, ...] = ()
    ordinals: bool = False
    _all: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        own = {"numbered": self.numbered, "maybe": self.maybe, "never": self.never}
        for kind, common in (
            ("numbered", _WITH_NUMBERS),
            ("maybe", _ALSO_LAST),
            ("never", _EVERYWHERE),
        ):
            self._all.update(dict.fromkeys(common, kind))
        for kind, mine in own.items():
            self._all.update(dict.fromkeys(mine, kind))

    def kind(self, word: str) -> str:
        """``never``, ``maybe``, ``numbered``, or ``""``; ``word`` in lower case, no last stop."""
        kind = self._all.get(word, "")
        return "numbered" if not kind and word.endswith(self.endings) else kind
