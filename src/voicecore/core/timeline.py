"""A call on record: events and decisions as plain JSON types, and back.

A recording is a list of records: one :class:`Header`, then a :class:`Step` for
each event with what the session decided, and an :class:`Anchor` wherever the
agent's audio began, stood still or ended; a :class:`Finish` if it was closed.

:class:`Codec` knows dataclasses and enums by their annotations alone, so a new
event, action or setting needs nothing here. A dataclass is an object with its
name under ``$`` (``{"$": "SpeechOnset", "sample": 512, …}``), a tuple an array.
Reading is strict: what this version doesn't know is refused, since a replay
that leaves something out proves nothing. Only a field that is missing takes
its default: a recording stays readable when a field with a default is added.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.turn_settings import TurnSettings
from voicecore.errors import MisuseError

VERSION = 1
"""Of the records below; goes up when an old reader would misunderstand them."""

_TAG = "$"
_HEX = re.compile("(?:[0-9a-f]{2})*")
_MOST_DEEP = 32
_INT_BOUND = 1 << 63
_OTHER_VERSION = "replay it with the voicecore that recorded it (its header names the version)"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Header:
    """What a replay needs to know before the first event.

    ``began_ns`` is on the clock of all ``now_ns`` (monotonic), ``started_utc``
    the same moment for people. ``consent``: how callers agreed to be recorded.
    """

    version: int
    voicecore: str
    session_id: str
    started_utc: str
    began_ns: int
    play_rate_hz: int
    hear_rate_hz: int
    settings: TurnSettings
    consent: str
    seeds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """``event`` was handled at ``now_ns``; ``actions`` None: the session refused it."""

    now_ns: int
    event: ev.Event
    actions: tuple[act.Action, ...] | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """At ``now_ns`` the agent's audio stood at ``position`` (playout rate)."""

    now_ns: int
    position: int
    kind: Literal["started", "hold", "resume", "flush", "drained"]


@dataclass(frozen=True, slots=True)
class Finish:
    """The recording ends: ``closed`` with the call, or a word that says why before it."""

    now_ns: int
    reason: str


Record = Header | Step | Anchor | Finish


class Codec:
    """Values <-> plain JSON types, for ``roots`` and every type their fields name.

    Raises :class:`~voicecore.errors.MisuseError` (code ``unreadable_record``) for
    what it doesn't know, in both directions. Has no state: any thread may use it.
    """

    def __init__(self, roots: Iterable[type]) -> None:
        self._types: dict[str, type] = {}
        self._hints: dict[type, dict[str, Any]] = {}
        for root in roots:
            self._learn(root)

    @property
    def types(self) -> tuple[type, ...]:
        """Every dataclass and enum it knows."""
        return tuple(self._types.values())

    def encode(self, value: object) -> Json:
        """``value`` in plain JSON types: integers of any kind as ``int``, texts as ``str``."""
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            return value  # type: ignore[return-value]
        if kind in self._hints:
            plain: dict[str, Json] = {_TAG: kind.__name__}
            for name in self._hints[kind]:
                plain[name] = self.encode(getattr(value, name))
            return plain
        if kind is tuple:
            return [self.encode(item) for item in value]  # type: ignore[attr-defined]
        return self._encode_rare(value)

    def decode(self, plain: Json) -> Any:
        """The value that :meth:`encode` was given."""
        return self._decode(plain, 0)

    def conforms(self, value: object, kind: type, name: str) -> bool:
        """Whether ``value`` is one that the field ``name`` of ``kind`` may have."""
        return _conforms(value, self._hints[kind][name])

    # -- private --------------------------------------------------------------------

    def _learn(self, hint: Any) -> None:
        for part in get_args(hint):
            self._learn(part)
        if not isinstance(hint, type) or not (is_dataclass(hint) or issubclass(hint, Enum)):
            return
        known = self._types.setdefault(hint.__name__, hint)
        if known is not hint:
            raise MisuseError(f"two types on the timeline are named {hint.__name__}: rename one")
        if is_dataclass(hint) and hint not in self._hints:
            hints = get_type_hints(hint)
            self._hints[hint] = {f.name: hints[f.name] for f in fields(hint) if f.init}
            for part in self._hints[hint].values():
                self._learn(part)

    def _encode_rare(self, value: object) -> Json:
        if isinstance(value, Enum) and type(value).__name__ in self._types:
            return {_TAG: type(value).__name__, "name": value.name}
        if isinstance(value, str):
            # A Transcript: no decision depends on the times of its words.
            return str(value)
        if isinstance(value, float):
            number = float(value)
            return number if math.isfinite(number) else {_TAG: "float", "of": repr(number)}
        if isinstance(value, bytes):
            return {_TAG: "bytes", "of": value.hex()}
        if isinstance(value, Mapping):
            plain = {self._key(key): self.encode(item) for key, item in value.items()}
            return {_TAG: "map", "items": plain} if _TAG in plain else plain
        if isinstance(value, list):
            return {_TAG: "list", "items": [self.encode(item) for item in value]}
        if isinstance(value, tuple):
            return [self.encode(item) for item in value]
        if hasattr(value, "__index__"):
            return int(value)
        raise _unreadable(
            f"a {type(value).__name__} can't be put on the timeline: use dataclasses, enums, "
            "tuples, mappings and numbers"
        )

    def _key(self, key: object) -> str:
        if type(key) is not str:
            raise _unreadable("the keys of a mapping on the timeline must be text")
        return key

    def _decode(self, plain: Json, depth: int) -> Any:
        if depth > _MOST_DEEP:
            raise _unreadable("a record is nested too deeply to be one of ours")
        if isinstance(plain, list):
            return tuple(self._decode(item, depth + 1) for item in plain)
        if isinstance(plain, dict):
            if _TAG in plain:
                return self._decode_tagged(plain, depth)
            return {key: self._decode(item, depth + 1) for key, item in plain.items()}
        if isinstance(plain, int) and not -_INT_BOUND <= plain < _INT_BOUND:
            raise _unreadable("a number in a record is too large to be one of ours")
        return plain

    def _decode_tagged(self, plain: dict[str, Json], depth: int) -> Any:
        name = plain[_TAG]
        rest = {key: item for key, item in plain.items() if key != _TAG}
        if name in ("float", "bytes", "list", "map"):
            return self._decode_marked(str(name), rest, depth)
        kind = self._types.get(name) if isinstance(name, str) else None
        if kind is None:
            raise _unreadable(f"there is no type {str(name)[:40]!r} here: {_OTHER_VERSION}")
        if issubclass(kind, Enum):
            member = rest.get("name")
            if len(rest) != 1 or not isinstance(member, str) or member not in kind.__members__:
                raise _unreadable(f"{kind.__name__} has no such member: {_OTHER_VERSION}")
            return kind[member]
        known = self._hints[kind]
        if unknown := rest.keys() - known.keys():
            raise _unreadable(
                f"{kind.__name__} has no field {min(unknown)[:40]!r} here: {_OTHER_VERSION}"
            )
        if missing := _required(kind) - rest.keys():
            raise _unreadable(f"{kind.__name__} lacks {min(missing)!r}: {_OTHER_VERSION}")
        values = {key: self._decode(item, depth + 1) for key, item in rest.items()}
        for key, value in values.items():
            if not _conforms(value, known[key]):
                raise _unreadable(f"{kind.__name__}.{key} has a value of another type")
        return kind(**values)

    def _decode_marked(self, name: str, rest: dict[str, Json], depth: int) -> Any:
        items, text = rest.get("items"), rest.get("of")
        if name == "float" and text in ("inf", "-inf", "nan"):
            return float(str(text))
        if name == "bytes" and isinstance(text, str) and _HEX.fullmatch(text):
            return bytes.fromhex(text)
        if name == "list" and isinstance(items, list):
            return [self._decode(item, depth + 1) for item in items]
        if name == "map" and isinstance(items, dict):
            return {key: self._decode(item, depth + 1) for key, item in items.items()}
        raise _unreadable(f"a {name} on the timeline lacks its value: the record is damaged")


def _required(kind: type) -> set[str]:
    return {f.name for f in fields(kind) if f.init and _has_no_default(f)}


def _has_no_default(a_field: Field[Any]) -> bool:
    return a_field.default is MISSING and a_field.default_factory is MISSING


def _conforms(value: object, hint: Any) -> bool:
    """Whether ``value`` is a ``hint``, for the hints that fields on the timeline have."""
    if hint is Any or hint is object:
        return True
    if hint is None or hint is NoneType:
        return value is None
    origin, args = get_origin(hint), get_args(hint)
    if origin is None:
        return _is_a(value, hint)
    if origin is Union or origin is UnionType:
        return any(_conforms(value, arg) for arg in args)
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if origin is Annotated:
        return _conforms(value, args[0])
    if origin is tuple:
        return _is_tuple(value, args)
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _conforms(key, args[0]) and _conforms(item, args[1]) for key, item in value.items()
        )
    return isinstance(value, origin) and all(_conforms(item, args[0]) for item in value)


def _is_a(value: object, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _is_tuple(value: object, args: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple):
        return False
    if len(args) == 2 and args[1] is Ellipsis:
        return all(_conforms(item, args[0]) for item in value)
    return len(value) == len(args) and all(map(_conforms, value, args))


def _unreadable(message: str) -> MisuseError:
    return MisuseError(message, code="unreadable_record")


TIMELINE = Codec((*ev.ALL_EVENTS, *act.ALL_ACTIONS, Header, Step, Anchor, Finish))
"""Knows every record, event, action and setting."""
