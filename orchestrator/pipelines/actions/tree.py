"""The parts of an expression, once it has been parsed: each knows its place and can tell its value in a scope.

Made by parsing.py, which also sees to it that no tree is deeper than DEEPEST; so their recursion is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, Protocol

from orchestrator.pipelines.actions.errors import ExpressionError, Place
from orchestrator.pipelines.actions.functions import Function
from orchestrator.pipelines.actions.values import Value, equal, kind_of, less, number_of, text_of, truthy

DEEPEST = 50
"""Levels of a tree, and of brackets in brackets (GitHub's own limit for the tree)."""

Comparing = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression can see where it stands.

    `contexts` may be any mapping: only those are asked for that are mentioned, and it may refuse one by raising an
    ExpressionError. `functions` are those that the language leaves to the place (success, hashFiles, ...), by their
    names in small letters; each is called with its values.
    """

    contexts: Mapping[str, Value]
    functions: Mapping[str, Callable[[Sequence[Value]], Value]]


class Node(Protocol):
    """A part of an expression."""

    @property
    def depth(self) -> int:
        """How many levels its tree has, itself counted."""

    def value(self, scope: Scope) -> Value:
        """Return what it is in this scope; raise ExpressionError."""


class _Filtered(list[Value]):
    """What `.*` gives: what is asked of it is asked of each of its items."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    literal: bool | float | str | None
    depth: int = 1

    def value(self, scope: Scope) -> Value:
        """Return it."""
        return self.literal


@dataclass(frozen=True, slots=True)
class Context:
    """A name at the root, such as `github`; the case does not matter."""

    place: Place
    name: str
    depth: int = 1

    def value(self, scope: Scope) -> Value:
        """Return the context of that name."""
        key = _key(scope.contexts, self.name)
        try:
            if key is not None:
                return scope.contexts[key]
        except ExpressionError as error:
            self.place.add_to(error)
            raise
        names = sorted(scope.contexts)
        near = get_close_matches(self.name.lower(), [*names, "null", "true", "false"], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"text stands in single quotes: '{self.name}'."
        raise self.place.error(f"no context {self.name!r} here; {hint} Those here: {', '.join(names) or 'none'}")


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    place: Place
    depth: int
    function: Function
    arguments: tuple[Node, ...]

    def value(self, scope: Scope) -> Value:
        """Call it. A function of the scope's that is not there has no meaning where the expression stands."""
        body = self.function.body or scope.functions.get(self.function.name.lower())
        if body is None:
            raise self.place.error(f"{self.function.name}() cannot be asked here: it has no meaning in this place")
        values = [argument.value(scope) for argument in self.arguments]
        try:
            return body(values)
        except ExpressionError as error:
            self.place.add_to(error)
            raise


@dataclass(frozen=True, slots=True)
class Case:
    """`case(condition, value, ..., otherwise)`: only the value that is chosen is looked at."""

    place: Place
    depth: int
    arguments: tuple[Node, ...]

    def value(self, scope: Scope) -> Value:
        """Return the value after the first condition that is true. Each has to be a boolean."""
        for condition, chosen in zip(self.arguments[::2], self.arguments[1::2], strict=False):
            holds = condition.value(scope)
            if not isinstance(holds, bool):
                raise self.place.error(f"case: a condition has to be true or false, which {kind_of(holds)} is not")
            if holds:
                return chosen.value(scope)
        return self.arguments[-1].value(scope)


@dataclass(frozen=True, slots=True)
class Index:
    """`of.name`, `of[which]`."""

    depth: int
    of: Node
    which: Node

    def value(self, scope: Scope) -> Value:
        """Return the item, null if there is none."""
        target, which = self.of.value(scope), self.which.value(scope)
        if isinstance(target, _Filtered):
            return _Filtered(found for item in target for found in _items(item, which))
        return next(iter(_items(target, which)), None)


@dataclass(frozen=True, slots=True)
class Filter:
    """`of.*`: all values of an object, all items of an array."""

    depth: int
    of: Node

    def value(self, scope: Scope) -> Value:
        """Return the values; none of what is neither object nor array."""
        target = self.of.value(scope)
        if isinstance(target, _Filtered):
            return _Filtered(found for item in target for found in _all_items(item))
        return _Filtered(_all_items(target))


@dataclass(frozen=True, slots=True)
class Not:
    """`!operand`."""

    depth: int
    operand: Node

    def value(self, scope: Scope) -> Value:
        """Return a boolean."""
        return not truthy(self.operand.value(scope))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands and what is between them."""

    depth: int
    operator: Comparing
    left: Node
    right: Node

    def value(self, scope: Scope) -> Value:
        """Return a boolean."""
        left, right = self.left.value(scope), self.right.value(scope)
        match self.operator:
            case "==":
                return equal(left, right)
            case "!=":
                return not equal(left, right)
            case "<":
                return less(left, right)
            case "<=":
                return less(left, right) or equal(left, right)
            case ">":
                return less(right, left)
            case ">=":
                return less(right, left) or equal(left, right)


@dataclass(frozen=True, slots=True)
class Choice:
    """Operands with `&&` or `||` between them: the first that decides is the value, and none after it is looked at."""

    depth: int
    operator: Literal["&&", "||"]
    operands: tuple[Node, ...]

    def value(self, scope: Scope) -> Value:
        """Return an operand's own value, not a boolean made of it."""
        last: Value = None
        for operand in self.operands:
            last = operand.value(scope)
            if truthy(last) == (self.operator == "||"):
                break
        return last


def _key(named: Mapping[str, Value], name: str) -> str | None:
    if isinstance(named, dict) and name in named:
        return name
    lower = name.lower()
    return next((key for key in named if key.lower() == lower), None)


def _items(target: Value, which: Value) -> Sequence[Value]:
    """Return the one item that is meant, or nothing."""
    if isinstance(target, dict) and not isinstance(which, (list, dict)):
        key = _key(target, text_of(which))
        return () if key is None else (target[key],)
    if isinstance(target, list):
        number = number_of(which)
        return (target[math.floor(number)],) if 0 <= number < len(target) else ()
    return ()


def _all_items(target: Value) -> Sequence[Value]:
    if isinstance(target, dict):
        return tuple(target.values())
    return target if isinstance(target, list) else ()
