"""What an engine's constructor says may be configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from voicecore.engines.constructor import is_made, keywords_of, parameters_of
from voicecore.engines.options import LocalPath, Option, Secret
from voicecore.errors import MisuseError

KEY = Secret("API key", variable="X_KEY")


class Plain:
    def __init__(
        self,
        first: Annotated[str, Option("first")],
        *,
        key: Annotated[str, KEY] = "",
        words: Annotated[list[str] | None, "a note", Option("words")] = None,
        folder: Annotated[str, LocalPath("where")] = "",
        clock: object = None,
        **others: object,
    ) -> None: ...


class Heir(Plain):
    """Has its parent's constructor."""


@dataclass
class Record:
    model: Annotated[str, Option("which")] = "large"


def make(*, model: Annotated[str, Option("which")]) -> Plain:
    raise NotImplementedError


def make_named(name: Annotated[str, Option("its name", required=True)] = "") -> Plain:
    raise NotImplementedError


class NoConstructor:
    pass


class Unresolved:
    def __init__(self, *, tls: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_what_has_a_default_that_cannot_be_used_is_required() -> None:
    (name,) = parameters_of(make_named)
    assert (name.required, name.default) == (True, "")


@pytest.mark.parametrize("engine", [Plain, Heir])
def test_annotated_parameters_are_options(engine: type) -> None:
    first, key, words, folder = parameters_of(engine)
    assert (first.name, first.required, first.type, first.secret) == ("first", True, str, None)
    assert (key.required, key.default, key.secret) == (False, "", KEY)
    assert words.type == list[str] | None
    assert folder.option == LocalPath("where")
    assert keywords_of(engine) == {"first", "key", "words", "folder", "clock"}


def test_dataclasses_and_functions_serve() -> None:
    (model,) = parameters_of(Record)
    assert (model.name, model.default) == ("model", "large")
    (model,) = parameters_of(make)
    assert model.required


def test_nothing_to_configure() -> None:
    assert parameters_of(NoConstructor) == ()
    assert parameters_of(object) == ()
    assert keywords_of(NoConstructor) == frozenset()


def test_what_is_made_and_what_is_there() -> None:
    assert is_made(Plain)
    assert is_made(make)
    assert not is_made(NoConstructor())


def test_an_annotation_that_means_nothing_is_told() -> None:
    with pytest.raises(MisuseError, match=r"Unresolved's constructor can't be resolved.*Missing"):
        parameters_of(Unresolved)
