"""How callables and arguments become bytes, in the thread of whoever submits them.

Plain pickle is six times faster than cloudpickle and right for what the worker can import. It is wrong for
what lives in `__main__` (pickled by a reference the worker cannot follow), so its bytes are searched for
that name, and whatever plain pickle cannot do goes to cloudpickle.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import Any, Literal

import cloudpickle

from orchestrator.exceptions import UnsendableError
from workers.codes import code_of
from workers.wire import describe

_PROTOCOL = 5
_MAIN = b"__main__"
_EMPTY_CELL = CellType()
_SHARED = 8
"""How many things the calls of one run may share; a worker keeps twice as many."""

Call = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]


def dump_call(call: Call) -> bytes:
    """Pickle a call. Raises UnsendableError, naming the member that cannot be pickled."""
    return _dump(call, _plain_pickle_will_do())


def dump_value(value: Any) -> bytes:
    """Pickle anything else. Raises UnsendableError, naming the member that cannot be pickled."""
    return _dump(value, _plain_pickle_will_do())


class Packer:
    """Pickle the calls of one run, so that what many of them share is pickled and sent once.

    Shared is only what no task can change for another: plain functions without a closure, and code. What
    a closure or an object holds comes anew with every task, whichever worker runs it.
    `share` registers a pickle and returns its key; `pack` returns (key or -1, pickle) as the wire has it.
    """

    def __init__(self, share: Callable[[bytes], int]) -> None:
        self._share = share
        self._plainly = _plain_pickle_will_do()
        self._functions: dict[int, tuple[Callable[..., Any], int]] = {}
        self._codes: dict[int, _CodePickler | CodeType] = {}

    def pack(self, task: Callable[..., Any]) -> tuple[int, bytes]:
        """Pickle a task that takes no arguments; a partial is taken apart. Raises UnsendableError."""
        if type(task) is functools.partial:
            function, args, kwargs = task.func, task.args, task.keywords
            key = self._function_key(function)
            if key >= 0:
                return key, _dump((args, kwargs), self._plainly)
            return -1, _dump((function, args, kwargs), self._plainly)
        if type(task) is FunctionType and (task.__module__ == "__main__" or "<" in task.__qualname__):
            shared = self._code_pickler(task.__code__)
            if shared is not None:
                return shared.key, shared.pack((task, (), {}))
        return -1, _dump((task, (), {}), self._plainly)

    def pack_function(self, function: Callable[..., Any]) -> int:
        """Share a function that many calls have in common, whatever it is; return its key."""
        return self._share(_dump(function, self._plainly))

    def pack_item(self, item: Any) -> bytes:
        """Pickle the only argument of a function that travels by itself. Raises UnsendableError."""
        return _dump(((item,), {}), self._plainly)

    def _function_key(self, function: Callable[..., Any]) -> int:
        known = self._functions.get(id(function))
        if known is not None:
            return known[1]
        plain = type(function) is BuiltinFunctionType or (type(function) is FunctionType and not function.__closure__)
        if not plain or len(self._functions) >= _SHARED:
            return -1
        key = self.pack_function(function)
        self._functions[id(function)] = (function, key)  # which keeps it, and so its id, alive
        return key

    def _code_pickler(self, code: CodeType) -> _CodePickler | None:
        """Return the pickler for functions with this code, from the second one on."""
        known = self._codes.get(id(code))
        if isinstance(known, _CodePickler):
            return known
        if known is None:
            if len(self._codes) < _SHARED:
                self._codes[id(code)] = code
            return None
        pickler = self._codes[id(code)] = _CodePickler(code, self._share)
        return pickler


class _CodePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickle functions that differ only in what they captured, such as lambdas made in a loop.

    Half of such a pickle is the code, the same each time: it is sent once, and referred to by its key.
    """

    def __init__(self, code: CodeType, share: Callable[[bytes], int]) -> None:
        self._buffer = io.BytesIO()
        super().__init__(self._buffer, _PROTOCOL)
        self._code = code
        self.key = share(bytes(cloudpickle.dumps(code, _PROTOCOL)))

    def reducer_override(self, obj: Any) -> Any:
        """Write the shared code as a reference (pickle's hook)."""
        return (code_of, (self.key,)) if obj is self._code else super().reducer_override(obj)

    def pack(self, call: Call) -> bytes:
        """Pickle a call of such a function. Raises UnsendableError."""
        self._buffer.seek(0)
        self._buffer.truncate()
        self.clear_memo()
        with _blame(call):
            self.dump(call)
        return self._buffer.getvalue()


def _plain_pickle_will_do() -> bool:
    """Whether nobody has asked cloudpickle to send a module's contents by value."""
    return not cloudpickle.list_registry_pickle_by_value()


def _dump(value: Any, plainly: bool) -> bytes:
    if plainly:
        try:
            plain = pickle.dumps(value, _PROTOCOL)
            if _MAIN not in plain:
                return plain
        except KeyboardInterrupt:
            raise
        except BaseException:
            pass  # whatever the user's __reduce__ did, cloudpickle has the last word
    with _blame(value):
        return bytes(cloudpickle.dumps(value, _PROTOCOL))


class _blame:  # noqa: N801 - a context manager, read as a verb
    """Turn whatever pickling raises (the user's __reduce__ may even exit) into UnsendableError."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> Literal[False]:
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        try:
            culprit = _culprit(self._value)
        except KeyboardInterrupt:
            raise
        except BaseException:  # objects that cannot even be looked at
            culprit = f"the task or what it holds (a {describe(self._value)})"
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
        cells = zip(value.__code__.co_freevars, closure, strict=False)
        return [(f"variable {name!r}", cell.cell_contents) for name, cell in cells if cell != _EMPTY_CELL]
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
