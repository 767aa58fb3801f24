"""What single values of a config or pipeline file must be: text, durations, sizes, lists, tables. Pure.

Each check takes a value and its place, and returns the value normalised: seconds, bytes, absolute paths (which are only
joined). What is wrong is a ConfigError that says where, what was found, what is allowed and what is near.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.config.places import Place, cut, found, hint
from orchestrator.limits import parse_bytes, parse_seconds

_SHARE = re.compile(r"[1-9]\d{0,3}%", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_MEMORY = 1 << 62

Check = Callable[[Any, Place], Any]


def mapping(value: Any, place: Place) -> dict[str, Any]:
    """Return a table whose keys are text; an empty one for null."""
    if value is None:  # YAML's `defaults:` with nothing below it
        return {}
    if not isinstance(value, dict):
        raise place.mistake(f"must be a table of keys and values, not {found(value)}")
    for key in value:
        if not isinstance(key, str):
            raise place.mistake(f"the key {found(key)} must be text: quote it")
    return value


def table(value: Any, place: Place, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return a table that has only keys with a check, each value as its check returns it."""
    given = mapping(value, place)
    for key in given:
        if key not in checks:
            raise place.at(key).mistake(f"unknown key{hint(key, checks)}")
    return {key: checks[key](inner, place.at(key)) for key, inner in given.items()}


def whole(least: int, forms: str = "") -> Check:
    """Return the check of a whole number; `forms` says what else is allowed."""

    def check(value: Any, place: Place) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= sys.maxsize:
            raise place.mistake(f"must be a whole number, {least} or more{forms}, not {found(value)}")
        return value

    return check


def or_null(check: Check) -> Check:
    """Return a check that lets null pass."""
    return lambda value, place: None if value is None else check(value, place)


def jobs(value: Any, place: Place) -> int | str:
    """Return a number of jobs, a share of the CPUs, or "auto"."""
    if isinstance(value, str) and (value == "auto" or _SHARE.fullmatch(value)):
        return value
    number: int = whole(1, ', a share such as "50%", or "auto"')(value, place)
    return number


def seconds(value: Any, place: Place) -> float:
    """Return a duration above zero in seconds."""
    forms = 'a number of seconds above zero, or text such as "90s" or "1h30m"'
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = parse_seconds(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        raise place.mistake(f"must be {forms}, not {found(value)}") from None
    if not 0 < number < math.inf:
        raise place.mistake(f"must be {forms}, not {found(value)}")
    return number


def amount(value: Any, place: Place) -> int:
    """Return an amount of memory above zero in bytes."""
    forms = 'a whole number of bytes above zero, or text such as "512M" or "2G"'
    try:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError
        size = parse_bytes(value) if isinstance(value, str) else value
    except ValueError:
        raise place.mistake(f"must be {forms}, not {found(value)}") from None
    if not 0 < size <= _MOST_MEMORY:
        raise place.mistake(f"must be {forms}, not {found(value)}")
    return size


def text(value: Any, place: Place) -> str:
    """Return text that a program can be given."""
    if not isinstance(value, str):
        cure = "" if value is None or isinstance(value, (list, dict)) else ": quote it"
        raise place.mistake(f"must be text, not {found(value)}{cure}")
    if "\0" in value or _SURROGATE.search(value):
        raise place.mistake(f"must be text without NUL and lone surrogates, not {found(value)}")
    return value


def words(value: Any, place: Place) -> str:
    """Return text that is more than spaces."""
    if not text(value, place).strip():
        raise place.mistake("must not be empty")
    return str(value)


def path(value: Any, place: Place) -> str:
    """Return a path as an absolute one, seen from the file's folder."""
    return os.path.normpath(os.path.join(place.folder, words(value, place)))


def list_of(check: Check) -> Check:
    """Return the check of a list of text, each item of which the other one checks."""

    def check_list(value: Any, place: Place) -> list[Any]:
        if isinstance(value, str):
            raise place.mistake(f"must be a list of text, not {found(value)}: write [{cut(json.dumps(value))}]")
        if not isinstance(value, list):
            raise place.mistake(f"must be a list of text, not {found(value)}")
        return [check(item, place.at(index)) for index, item in enumerate(value)]

    return check_list


def env(value: Any, place: Place) -> dict[str, str]:
    """Return variables for a program's environment."""
    given = mapping(value, place)
    for name in given:
        text(name, place)
        if not name or "=" in name:
            raise place.mistake(f"{found(name)} can name no variable: it must not be empty or hold '='")
    return {name: _value(content, place.at(name)) for name, content in given.items()}


def _value(value: Any, place: Place) -> str:
    """Return a variable's value. What it is instead is not shown: it may be a secret."""
    if not isinstance(value, str):
        kind = found(value).rpartition(" (")[2].rstrip(")")
        cure = "" if value is None or isinstance(value, (list, dict)) else ": quote it"
        raise place.mistake(f"must be text, not {kind}{cure}")
    if "\0" in value or _SURROGATE.search(value):
        raise place.mistake("must be text without NUL and lone surrogates")
    return value


def command(value: Any, place: Place) -> str | list[str]:
    """Return a shell line, or a program and its arguments."""
    if isinstance(value, list):
        argv: list[str] = list_of(text)(value, place)
        if not argv or not argv[0]:
            raise place.mistake("must name a program first: a list such as ['make', 'all']")
        return argv
    if isinstance(value, str):
        return words(value, place)
    raise place.mistake(f"must be a shell line or a list of text, not {found(value)}")


def exactly_one(given: Mapping[str, Any], place: Place, one: str, other: str) -> None:
    """Raise ConfigError unless a table has exactly one of two keys."""
    if (one in given) is (other in given):
        raise place.mistake(
            f"must have either {one!r} or {other!r}, {'not both' if one in given else 'and has neither'}"
        )
