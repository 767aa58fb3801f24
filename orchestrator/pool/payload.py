"""How callables and arguments become bytes, in the thread of whoever submits them.

Plain pickle is six times faster than cloudpickle and right for what the worker can import. It is wrong for
what lives in `__main__` (pickled by a reference the worker cannot follow), so its bytes are searched for
that name, and whatever plain pickle cannot do goes to cloudpickle.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from orchestrator.exceptions import UnsendableError
from workers.wire import describe

_PROTOCOL = 5
_MAIN = b"__main__"


def split(task: Callable[..., Any]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Take a partial apart, so that what many partials share can be sent once."""
    if type(task) is functools.partial:
        return task.func, task.args, task.keywords
    return task, (), {}


def dump_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Pickle a call. Raises UnsendableError, naming the member that cannot be pickled."""
    return _dump((function, args, kwargs))


def dump_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Pickle the arguments of a function that travels by itself. Raises UnsendableError."""
    return _dump((args, kwargs))


def dump_function(function: Callable[..., Any]) -> bytes:
    """Pickle a function that many calls share. Raises UnsendableError."""
    return _dump(function)


def _dump(value: Any) -> bytes:
    if not cloudpickle.list_registry_pickle_by_value():
        try:
            plain = pickle.dumps(value, _PROTOCOL)
            if _MAIN not in plain:
                return plain
        except Exception:
            pass
    try:
        return bytes(cloudpickle.dumps(value, _PROTOCOL))
    except BaseException as error:  # the user's __reduce__: it may even exit
        if isinstance(error, KeyboardInterrupt):
            raise
        culprit = _culprit(value)
        raise UnsendableError(f"{culprit} cannot be pickled: {_say(error)}") from error


def _culprit(value: Any, path: str = "", depth: int = 0) -> str:
    """Name the innermost member that cannot be pickled by itself."""
    for name, member in _members(value) if depth < 8 else ():
        try:
            cloudpickle.dumps(member, _PROTOCOL)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return _culprit(member, f"{path}{name}", depth + 1)
    return f"{path or 'the task'} (a {describe(value)})"


def _members(value: Any) -> list[tuple[str, Any]]:
    """List what a value is made of, with names a reader would use."""
    if isinstance(value, functools.partial):
        return [("the function", value.func), ("its arguments", value.args), ("its keywords", value.keywords)]
    if isinstance(value, (tuple, list)):
        return [(f"[{index}]", member) for index, member in enumerate(value[:1000])]
    if isinstance(value, dict):
        return [(f"[{key!r}]", member) for key, member in list(value.items())[:1000]]
    closure = getattr(value, "__closure__", None)
    if closure:
        names = value.__code__.co_freevars
        return [(f"variable {name!r}", cell.cell_contents) for name, cell in zip(names, closure, strict=False)]
    bound = getattr(value, "__self__", None)
    if bound is not None and not isinstance(value, type):
        return [(".__self__", bound)]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        return [(f".{name}", member) for name, member in list(attributes.items())[:1000]]
    return []


def _say(error: BaseException) -> str:
    try:
        return f"{describe(error)}: {error}"
    except BaseException:
        return describe(error)
