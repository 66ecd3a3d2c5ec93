"""What a model is shown of a function's parameters, and the check of what it gives."""

from __future__ import annotations

import functools
import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Any

from voicecore.errors import MissingLibraryError, MisuseError

Arguments = dict[str, Any]


class ArgumentsError(Exception):
    """The model's arguments don't fit; the message is for the model."""


def derive(
    function: Callable[..., Any], name: str
) -> tuple[Callable[[Arguments], Arguments], dict[str, Any]]:
    """Return a check of the arguments and their JSON schema, by a pydantic model.

    The check raises :class:`ArgumentsError`. Raises MisuseError for a function that
    can't be offered, MissingLibraryError without pydantic.

    Fields are called ``p0``, ``p1``… with the parameter's name as alias, since
    some names (``copy``, ``_x``) can't be fields of a model.
    """
    pydantic = _pydantic()
    names: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for parameter, hint in _parameters(function, name):
        default = ... if parameter.default is parameter.empty else parameter.default
        field = f"p{len(fields)}"
        names[field] = parameter.name
        fields[field] = (hint, pydantic.Field(default, alias=parameter.name))
    try:
        model = pydantic.create_model(name, **fields)
        schema = model.model_json_schema()
    except pydantic.PydanticUserError as error:
        raise MisuseError(
            f"tool {name!r} has a parameter whose type has no JSON schema: annotate it with "
            "a plain type, or give a schema by Tool(function, parameters=…)"
        ) from error
    schema.pop("title", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)

    def check(arguments: Arguments) -> Arguments:
        try:
            checked = model.model_validate(arguments)
        except pydantic.ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
                for e in error.errors(include_input=False, include_url=False)
            )
            raise ArgumentsError(f"the arguments are not valid: {problems}") from error
        return {names[field]: getattr(checked, field) for field in names}

    return check, schema


def _parameters(function: Callable[..., Any], name: str) -> list[tuple[inspect.Parameter, Any]]:
    """The parameters a model may fill, each with its annotation (Any without one)."""
    plain, bound = function, frozenset[str]()
    while isinstance(plain, functools.partial):
        # What the program bound by name is not the model's to choose.
        bound |= plain.keywords.keys()
        plain = plain.func
    if not inspect.isroutine(plain):
        plain = type(plain).__call__
    try:
        hints = typing.get_type_hints(plain, include_extras=True)
    except NameError as error:
        raise MisuseError(
            f"an annotation of tool {name!r} can't be resolved ({error}): define the type "
            "at the top of its module"
        ) from error
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in bound:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise MisuseError(
                f"tool {name!r} has the parameter {parameter}: tools are called with "
                "keyword arguments, so give it plain named parameters"
            )
        parameters.append((parameter, hints.get(parameter.name, Any)))
    return parameters


def matcher(function: Callable[..., Any]) -> Callable[[Arguments], Arguments]:
    """Return a check that the arguments fit the signature, whatever their types."""
    signature = inspect.signature(function)

    def check(arguments: Arguments) -> Arguments:
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise ArgumentsError(f"the arguments are not valid: {error}") from error
        return arguments

    return check


def _pydantic() -> Any:
    try:
        return importlib.import_module("pydantic")
    except ImportError as error:
        raise MissingLibraryError(
            "tools without a JSON schema need pydantic: `pip install pydantic`, "
            "or give the schema by Tool(function, parameters=…)",
            code="pydantic_missing",
        ) from error
