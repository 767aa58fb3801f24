"""What an expression of GitHub Actions works on, and how one kind of value becomes another.

Pure functions. The rules are those of GitHub's documentation ("Evaluate expressions in workflows and actions") and,
where it is silent, of GitHub's open source runner: JavaScript's loose comparisons, but text ignores case, and arrays
and objects equal only themselves.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

Value: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
"""Null, booleans, numbers (64-bit floats, whichever type carries them), text, arrays, objects."""

_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITE = re.compile(r"[+-]?Infinity")
_BASES = {"0x": (16, re.compile("[0-9a-fA-F]+")), "0o": (8, re.compile("[0-7]+"))}


def truthy(value: Value) -> bool:
    """Say whether a condition with this value holds.

    >>> [truthy(value) for value in (None, False, 0, -0.0, float("nan"), "")]
    [False, False, False, False, False, False]
    >>> [truthy(value) for value in (True, -1, "false", [], {})]
    [True, True, True, True, True]
    """
    if isinstance(value, (list, dict)):
        return True
    return bool(value) and value == value


def text_of(value: Value) -> str:
    """Return a value as text. Numbers have 15 digits at most, as .NET's format G15, which GitHub uses.

    >>> [text_of(value) for value in (None, True, 3.0, -0.0, 0.1 + 0.2, 1e15, 1e-5, [1], {})]
    ['', 'true', '3', '0', '0.3', '1E+15', '1E-05', 'Array', 'Object']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return _text_of_number(number_of(value))
    return "Array" if isinstance(value, list) else "Object"


def _text_of_number(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return format(number or 0.0, ".15G")


def number_of(value: Value) -> float:
    """Return a value as a number, as JavaScript's `Number()`; NaN for what is none, arrays and objects among them.

    >>> [number_of(value) for value in (None, True, "", " 12 ", "0x1F", "-.5e1", "twelve", [])]
    [0.0, 1.0, 0.0, 12.0, 31.0, -5.0, nan, nan]
    """
    if value is None:
        return 0.0
    if isinstance(value, str):
        return _parsed(value.strip())
    if isinstance(value, (list, dict)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _parsed(text: str) -> float:
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text) or _INFINITE.fullmatch(text):
        return float(text)
    base, digits = _BASES.get(text[:2], (0, None))
    if digits and digits.fullmatch(text, 2):
        return number_of(int(text[2:], base))
    return math.nan


def folded(text: str) -> str:
    """Return text such that two that differ only in case are the same; it keeps its length (.NET: OrdinalIgnoreCase).

    >>> folded("Straße_é")
    'STRAßE_É'
    """
    return text.upper() if text.isascii() else "".join(map(_upper, text))


def _upper(character: str) -> str:
    upper = character.upper()
    return upper if len(upper) == 1 and upper.isascii() == character.isascii() else character


def kind_of(value: Value) -> str:
    """Return what a value is, for messages: they never show the value itself, which may be a secret."""
    if value is None:
        return "null"
    kinds = {bool: "a boolean", str: "a text", list: "an array", dict: "an object"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "a number")


def is_plain(value: Value) -> bool:
    """Say whether a value is neither an array nor an object."""
    return not isinstance(value, (list, dict))


def equal(left: Value, right: Value) -> bool:
    """Compare as `==` does: text ignoring case, different kinds as numbers, arrays and objects by identity.

    >>> equal("Main", "main"), equal("1", 1), equal(None, ""), equal(True, "true"), equal([], [])
    (True, True, True, False, False)
    """
    if isinstance(left, str) and isinstance(right, str):
        return folded(left) == folded(right)
    if isinstance(left, (list, dict)) and isinstance(right, (list, dict)):
        return left is right
    return number_of(left) == number_of(right)


def less(left: Value, right: Value) -> bool:
    """Compare as `<` does: text by its characters ignoring case, all else as numbers; NaN is never less.

    >>> less("a", "B"), less("9", 10), less(None, True), less(1, "x"), less("_", "a")
    (True, True, True, False, False)
    """
    if isinstance(left, str) and isinstance(right, str):
        return folded(left) < folded(right)
    return number_of(left) < number_of(right)
