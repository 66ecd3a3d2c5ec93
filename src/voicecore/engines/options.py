"""How an engine's constructor says what may be configured.

An engine has no list of settings beside its constructor: each keyword parameter
annotated with one of these can be given by a setting, a variable or a file, and is
shown in ``--engines``; the others are for programs. ::

    class ExampleStt:
        def __init__(
            self,
            *,
            key: Annotated[str, Secret("API key", variable="EXAMPLE_API_KEY")],
            model: Annotated[str, Option("which model")] = "large",
        ) -> None: ...

Types are those a TOML file can hold: ``str``, ``int``, ``float``, ``bool``,
``Literal`` of texts, ``Path``, ``list[str]`` and ``dict[str, Any]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Option:
    """A parameter that may be configured. ``help`` is for people, without a full stop.

    ``required``: it must be given although it has a default, which can't be used.
    """

    help: str
    required: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Secret(Option):
    """A key or password: never shown, read from ``variable`` or the file ``<variable>_FILE``.

    A parameter with a default may be left out: the engine runs without.
    """

    variable: str = ""


@dataclass(frozen=True, slots=True)
class LocalPath(Option):
    """A file or directory on this machine, which must be there when the service starts."""
