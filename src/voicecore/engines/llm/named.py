"""Finds what a user names as ``module:name``, with a word on what to do if it isn't there."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from voicecore.errors import MisuseError

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def find(target: str, what: str, example: str) -> Any:
    """Import the module of ``target`` and return what it names.

    The current directory is importable, as it is for ``python -m``. ``what`` is the
    user's word for it (``agent``, ``tools``), ``example`` a target with what it would
    mean. Raises MisuseError: ``<what>_not_found`` (no such module or name),
    ``<what>_import_failed`` (the module raised; chained).
    """
    module_name, colon, name = target.partition(":")
    if not colon or not _DOTTED.fullmatch(module_name) or not _DOTTED.fullmatch(name):
        raise MisuseError(
            f"the {what} {target!r} is not of the form module:name ({example})",
            code=f"{what}_not_found",
        )
    found: Any = import_module(module_name, what)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise _no_attribute(module_name, name, what) from error
    return found


def import_module(name: str, what: str) -> ModuleType:
    """Import a module of the user's; raises as :func:`find`."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise MisuseError(
                f"the {what}'s module {name} needs the module {error.name}, which is not "
                "installed: install it with pip",
                code=f"{what}_import_failed",
            ) from error
        raise MisuseError(
            f"there is no module {name} in {here} or among the installed packages: "
            "start from the directory that holds it, and write its name without .py",
            code=f"{what}_not_found",
        ) from error
    except (Exception, SystemExit) as error:
        raise MisuseError(
            f"importing the {what}'s module {name} raised {type(error).__name__}: {error}",
            code=f"{what}_import_failed",
        ) from error


def own_functions(module: ModuleType, wanted: Callable[[Any], bool] = callable) -> dict[str, Any]:
    """The public functions and classes that ``module`` itself defines, in its order."""
    return {
        key: value
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and wanted(value)
        and not key.startswith("_")
    }


def _no_attribute(module_name: str, name: str, what: str) -> MisuseError:
    found = sorted(own_functions(sys.modules[module_name]))
    has = f"it has {', '.join(found[:8])}" if found else "it defines no function or class"
    return MisuseError(
        f"the module {module_name} has no {name}; {has}: correct the part after the colon",
        code=f"{what}_not_found",
    )
