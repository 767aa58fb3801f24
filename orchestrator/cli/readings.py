"""How what is typed on the command line is read: durations, sizes, numbers of jobs, when to halt, combinations."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from orchestrator.limits import parse_bytes, parse_seconds, tolerance

_N = TypeVar("_N", int, float)
_SHARE = re.compile(r"\d+(?:\.\d+)?%", re.ASCII)


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic only since click 8.4


class Reading(_ParamType):
    """A kind of value: its name in the help, and the function that reads it, which raises ValueError."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a text; what is no text has been read already."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except (ValueError, TypeError) as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of something, as a factor; `text` is what was typed ("300%")."""

    text: str
    factor: float


@dataclass(frozen=True, slots=True)
class Halt:
    """When to give up: after how many failures, or which share of the tasks, and whether to stop what runs."""

    when: Literal["now", "soon"]
    fail: int | str


def read_jobs(text: str) -> int | str:
    """Read a number of jobs: `4`, `50%` of the CPUs, `auto` for all of them."""
    if text == "auto" or (_SHARE.fullmatch(text) and float(text[:-1]) > 0):
        return text
    if text.isascii() and text.isdecimal() and int(text) >= 1:
        return int(text)
    raise ValueError(f"{text!r} is no number of jobs: write one from 1 up, a share of the CPUs (50%), or auto")


def read_limit(text: str) -> float | Share:
    """Read a time limit: a duration, or a share of the median time of those that ended well (`300%`)."""
    if _SHARE.fullmatch(text):
        if float(text[:-1]) <= 100:
            raise ValueError(f"{text!r} of the median time would stop every second script: write more than 100%")
        return Share(text, float(text[:-1]) / 100)
    return read_timeout(text)


def read_timeout(text: str) -> float:
    """Read a time limit: a duration of more than zero."""
    return _more_than_zero(parse_seconds(text), "seconds")


def read_memory(text: str) -> int:
    """Read an amount of memory of more than zero."""
    return _more_than_zero(parse_bytes(text), "bytes")


def read_retries(text: str) -> int:
    """Read a number of retries."""
    if text.isascii() and text.isdecimal():
        return int(text)
    raise ValueError(f"{text!r} is no number of retries: write a whole number from 0 up")


def read_halt(text: str) -> Halt:
    """Read when to give up: `now,fail=1`, `soon,fail=3`, `soon,fail=10%`."""
    match = re.fullmatch(r"(now|soon),fail=(\d+)(%?)", text, re.ASCII)
    if match is None or int(match[2]) < 1 or (match[3] and int(match[2]) > 100):
        raise ValueError(
            f"{text!r} does not say when to halt: write now,fail=1 (stop what runs), soon,fail=3 (let it end) or "
            "soon,fail=10% (of all scripts)"
        )
    fail = f"{match[2]}%" if match[3] else int(match[2])
    tolerance(fail)
    return Halt("now" if match[1] == "now" else "soon", fail)


def read_variable(text: str) -> tuple[str, str]:
    """Read an environment variable, `NAME=value`; the value may be empty."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"{text!r} is not a variable: write NAME=value")
    return name, value


def read_axis(text: str) -> tuple[str, tuple[str, ...]]:
    """Read one axis of a matrix, `name=first,second,...`; the name must do as a variable's."""
    name, _, values = text.partition("=")
    listed = tuple(values.split(","))
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII) or not all(listed):
        raise ValueError(
            f"{text!r} is no axis of a matrix: write NAME=first,second (letters, digits and _ in the name)"
        )
    if len(set(listed)) < len(listed):
        raise ValueError(f"{text!r} names a value twice")
    return name, listed


def combinations(axes: Sequence[tuple[str, Sequence[str]]]) -> Iterator[dict[str, str]]:
    """Yield each combination of the values, the last axis changing fastest; one empty one without axes.

    >>> [c["a"] + c["b"] for c in combinations([("a", "12"), ("b", "xy")])]
    ['1x', '1y', '2x', '2y']
    """
    names = [name for name, _ in axes]
    for values in itertools.product(*(values for _, values in axes)):
        yield dict(zip(names, values, strict=True))


def _more_than_zero(number: _N, unit: str) -> _N:
    if number <= 0:
        raise ValueError(f"must be more than zero {unit}; for no limit, leave the option out")
    return number


JOBS = Reading("N", read_jobs)
LIMIT = Reading("TIME", read_limit)
TIMEOUT = Reading("TIME", read_timeout)
DURATION = Reading("TIME", parse_seconds)
MEMORY = Reading("SIZE", read_memory)
RETRIES = Reading("N", read_retries)
HALT = Reading("WHEN", read_halt)
VARIABLE = Reading("NAME=VALUE", read_variable)
AXIS = Reading("NAME=A,B,...", read_axis)
