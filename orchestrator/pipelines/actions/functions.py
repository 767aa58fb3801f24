"""The functions of the expression language: which there are, how many arguments they take, and what those do
that need nothing but their arguments.

Pure. They raise ExpressionError without a place; the call adds it. No text they make is longer than MOST_TEXT.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.pipelines.actions.errors import ExpressionError
from orchestrator.pipelines.actions.values import Value, equal, folded, is_plain, text_of
from orchestrator.wording import count

MOST_TEXT = 1 << 20
"""Characters that a text may have which an expression or a template makes."""

_FORMAT_PIECES = re.compile(r"\{\{|\}\}|\{([0-9]{1,9})\}|[{}]|[^{}]+")
_NEW_LINES = str.maketrans({"\x85": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"})


@dataclass(frozen=True, slots=True)
class Function:
    """A function by the name that GitHub's documentation gives it.

    Without a `body` it is the scope's, but for `case`, which is a part of the tree: it looks at what it chooses only.
    """

    name: str
    fewest: int
    most: int
    body: Callable[[Sequence[Value]], Value] | None = None

    def check(self, arguments: int) -> None:
        """Raise ExpressionError unless it takes that many arguments."""
        if self.name == "case" and arguments % 2 == 0:
            raise ExpressionError("case takes pairs of a condition and a value, and at the end a value for all else")
        if self.fewest <= arguments <= self.most:
            return
        takes = count(self.most, "argument") if self.most else "no arguments"
        if 0 < self.fewest < self.most:
            takes = f"{self.fewest} to {takes}"
        raise ExpressionError(f"{self.name} takes {takes}, not {arguments}")


def bounded(pieces: Iterable[str]) -> str:
    """Join pieces of text; raise ExpressionError before more than MOST_TEXT characters have come together."""
    taken, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > MOST_TEXT:
            raise ExpressionError(f"the text that comes out is longer than {MOST_TEXT:,} characters")
        taken.append(piece)
    return "".join(taken)


def _contains(arguments: Sequence[Value]) -> Value:
    where, what = arguments
    if isinstance(where, list):
        return any(equal(what, item) for item in where)
    return is_plain(where) and is_plain(what) and folded(text_of(what)) in folded(text_of(where))


def _starts_with(arguments: Sequence[Value]) -> Value:
    text, start = arguments
    return is_plain(text) and is_plain(start) and folded(text_of(text)).startswith(folded(text_of(start)))


def _ends_with(arguments: Sequence[Value]) -> Value:
    text, end = arguments
    return is_plain(text) and is_plain(end) and folded(text_of(text)).endswith(folded(text_of(end)))


def _format(arguments: Sequence[Value]) -> Value:
    return bounded(_formatted(text_of(arguments[0]), [text_of(value) for value in arguments[1:]]))


def _formatted(text: str, values: Sequence[str]) -> Iterator[str]:
    for match in _FORMAT_PIECES.finditer(text):
        piece, number = match[0], match[1]
        if piece in ("{", "}"):
            raise ExpressionError(
                f"format: the {piece!r} at character {match.start() + 1} of its text belongs to no {{0}}; "
                f"write it twice if it is meant as it stands"
            )
        if number is None:
            yield piece[0] if piece in ("{{", "}}") else piece
        elif int(number) < len(values):
            yield values[int(number)]
        else:
            given = count(len(values), "value")
            raise ExpressionError(f"format: nothing is given for {piece}: {given} given, and they count from {{0}}")


def _join(arguments: Sequence[Value]) -> Value:
    items = arguments[0]
    if not isinstance(items, list):
        return text_of(items) if is_plain(items) else ""
    separator = text_of(arguments[1]) if len(arguments) > 1 and is_plain(arguments[1]) else ","
    return bounded(piece for index, item in enumerate(items) for piece in ((separator if index else ""), text_of(item)))


def _to_json(arguments: Sequence[Value]) -> Value:
    return bounded(_json_pieces(arguments[0]))


def _json_pieces(value: Value) -> Iterator[str]:
    """Yield JSON piece by piece, indented by two spaces. What is open waits in a list, so no depth is too much."""
    open_: list[tuple[Iterator[tuple[str, Value]], str]] = [(iter([("", value)]), "")]
    between = ""
    while open_:
        entries, end = open_[-1]
        entry = next(entries, None)
        if entry is None:
            open_.pop()
            yield end
            between = ","
            continue
        label, item = entry
        indent = "  " * (len(open_) - 1)
        yield between + (f"\n{indent}" if len(open_) > 1 else "") + label
        if isinstance(item, dict) and item:
            yield "{"
            open_.append((((f"{_quoted(key)}: ", below) for key, below in item.items()), f"\n{indent}}}"))
            between = ""
        elif isinstance(item, list) and item:
            yield "["
            open_.append(((("", below) for below in item), f"\n{indent}]"))
            between = ""
        else:
            yield _json_of_leaf(item)
            between = ","


def _json_of_leaf(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (list, dict)):
        return "[]" if isinstance(value, list) else "{}"
    return text_of(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_NEW_LINES)


def _from_json(arguments: Sequence[Value]) -> Value:
    text = text_of(arguments[0])
    if not text.strip():
        raise ExpressionError("fromJSON: its text is empty; an output that was never set is empty")
    try:
        value: Any = json.loads(text, parse_int=_number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ExpressionError(f"fromJSON: its text is no JSON in {where}: {error.msg}") from error
    except RecursionError:
        raise ExpressionError("fromJSON: its text is nested too deeply") from None
    found: Value = value
    return found


def _number(digits: str) -> int | float:
    """Read a whole number; a long one as the float that it is to GitHub, and no time is spent on a million digits."""
    return int(digits) if len(digits) <= 15 else float(digits)


_ALL = (
    Function("contains", 2, 2, _contains),
    Function("startsWith", 2, 2, _starts_with),
    Function("endsWith", 2, 2, _ends_with),
    Function("format", 1, 255, _format),
    Function("join", 1, 2, _join),
    Function("toJSON", 1, 1, _to_json),
    Function("fromJSON", 1, 1, _from_json),
    Function("case", 3, 255),
    Function("hashFiles", 1, 255),
    Function("success", 0, 255),  # in a job's condition, the names of jobs may be given
    Function("failure", 0, 255),
    Function("always", 0, 0),
    Function("cancelled", 0, 0),
)

FUNCTIONS: Mapping[str, Function] = {function.name.lower(): function for function in _ALL}
"""All there are, by their names in small letters."""

STATUS_FUNCTIONS = frozenset({"success", "failure", "always", "cancelled"})
