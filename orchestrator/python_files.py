"""Python files that hold workflows or agents: executed when something in them is first wanted."""

from __future__ import annotations

import contextlib
import difflib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import Any

from orchestrator.exceptions import ConfigError
from orchestrator.wording import visible


class PythonFiles:
    """Files that are executed once each, so that what stands in one of them shares its state; `what` they hold."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._executed: dict[str, Mapping[str, Any]] = {}

    def value(self, reference: str) -> Any:
        """Return what `file.py:name` means. Raises ConfigError, with the place, for what cannot be had."""
        path, _, name = reference.rpartition(":")
        if path not in self._executed:
            self._executed[path] = execute(path, self._what)
        found = self._executed[path]
        if name not in found:
            near = difflib.get_close_matches(name, [known for known in found if not known.startswith("_")], 1)
            raise ConfigError(f"{_shown(path)} has no {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")
        return found[name]


def _shown(path: str) -> str:
    return visible(os.path.relpath(path))


def execute(file: str, what: str) -> Mapping[str, Any]:
    """Execute a Python file and return what it defines; `what` of it is wanted stands in the name of its module.

    It becomes a module that nobody can import, so its functions travel to workers by value, as a script's do. Its
    folder comes first in sys.path, and what it prints goes to standard error: the other is for its caller's results.
    Raises ConfigError for a file that cannot be loaded, with the place of the mistake.
    """
    path = os.path.abspath(file)
    module = f"{what} of {file}"  # nobody can import that: else pickle would, and execute the file again
    loader = importlib.machinery.SourceFileLoader(module, path)
    spec = importlib.util.spec_from_loader(module, loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    if os.path.dirname(path) not in sys.path:
        sys.path.insert(0, os.path.dirname(path))
    sys.modules[module] = made  # while it runs: dataclasses look their module up
    try:
        with contextlib.redirect_stdout(sys.stderr):
            loader.exec_module(made)
    except FileNotFoundError as error:
        if error.filename != path:
            raise _mistake(path, error) from error
        raise ConfigError(f"there is no file {_shown(path)}") from error
    except SyntaxError as error:
        raise ConfigError(
            f"{visible(os.path.relpath(error.filename or path))}, line {error.lineno}: {error.msg}"
        ) from error
    except (Exception, SystemExit) as error:
        raise _mistake(path, error) from error
    finally:
        del sys.modules[module]
    return vars(made)


def _mistake(path: str, error: BaseException) -> ConfigError:
    """Say what was raised while a file was executed, with its last line that was reached."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return ConfigError(f"{_shown(path)}{f', line {line}' if line else ''}: {type(error).__name__}: {error}")
