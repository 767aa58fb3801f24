"""What a config may say: the keys each table knows, and what their values mean. Pure; paths are only joined.

`check_config` and `check_script` return the table normalised (seconds, bytes, absolute paths), only the keys that
are set. The first mistake is a ConfigError that says where, what was found, what is allowed and what is near.
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
_PYTHON = re.compile(r"(.+\.py):([^\W\d]\w*)")
_MOST_MEMORY = 1 << 62

_Check = Callable[[Any, Place], Any]


def check_config(value: Any, place: Place) -> dict[str, Any]:
    """Return a whole config, normalised: `defaults`, `scripts`, `workflows`, `discovery`, those that are there."""
    return _table(value, place, _CONFIG)


def check_script(value: Any, place: Place) -> dict[str, Any]:
    """Return what is said of one script, normalised: in the config under its name, or in the script itself."""
    return _table(value, place, _SCRIPT)


def _mapping(value: Any, place: Place) -> dict[str, Any]:
    if value is None:  # YAML's `defaults:` with nothing below it
        return {}
    if not isinstance(value, dict):
        raise place.mistake(f"must be a table of keys and values, not {found(value)}")
    for key in value:
        if not isinstance(key, str):
            raise place.mistake(f"the key {found(key)} must be text: quote it")
    return value


def _table(value: Any, place: Place, checks: Mapping[str, _Check]) -> dict[str, Any]:
    table = _mapping(value, place)
    for key in table:
        if key not in checks:
            raise place.at(key).mistake(f"unknown key{hint(key, checks)}")
    return {key: checks[key](inner, place.at(key)) for key, inner in table.items()}


def _whole(least: int, forms: str = "") -> _Check:
    def check(value: Any, place: Place) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= sys.maxsize:
            raise place.mistake(f"must be a whole number, {least} or more{forms}, not {found(value)}")
        return value

    return check


def _or_null(check: _Check) -> _Check:
    return lambda value, place: None if value is None else check(value, place)


def _jobs(value: Any, place: Place) -> int | str:
    if isinstance(value, str) and (value == "auto" or _SHARE.fullmatch(value)):
        return value
    number: int = _whole(1, ', a share such as "50%", or "auto"')(value, place)
    return number


def _seconds(value: Any, place: Place) -> float:
    forms = 'a number of seconds above zero, or text such as "90s" or "1h30m"'
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        seconds = parse_seconds(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        raise place.mistake(f"must be {forms}, not {found(value)}") from None
    if not 0 < seconds < math.inf:
        raise place.mistake(f"must be {forms}, not {found(value)}")
    return seconds


def _bytes(value: Any, place: Place) -> int:
    forms = 'a whole number of bytes above zero, or text such as "512M" or "2G"'
    try:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError
        amount = parse_bytes(value) if isinstance(value, str) else value
    except ValueError:
        raise place.mistake(f"must be {forms}, not {found(value)}") from None
    if not 0 < amount <= _MOST_MEMORY:
        raise place.mistake(f"must be {forms}, not {found(value)}")
    return amount


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        cure = "" if value is None or isinstance(value, (list, dict)) else ": quote it"
        raise place.mistake(f"must be text, not {found(value)}{cure}")
    if "\0" in value or _SURROGATE.search(value):
        raise place.mistake(f"must be text without NUL and lone surrogates, not {found(value)}")
    return value


def _words(value: Any, place: Place) -> str:
    if not _text(value, place).strip():
        raise place.mistake("must not be empty")
    return str(value)


def _path(value: Any, place: Place) -> str:
    return os.path.normpath(os.path.join(place.folder, _words(value, place)))


def _list_of(check: _Check) -> _Check:
    def check_list(value: Any, place: Place) -> list[Any]:
        if isinstance(value, str):
            raise place.mistake(f"must be a list of text, not {found(value)}: write [{cut(json.dumps(value))}]")
        if not isinstance(value, list):
            raise place.mistake(f"must be a list of text, not {found(value)}")
        return [check(item, place.at(index)) for index, item in enumerate(value)]

    return check_list


def _env(value: Any, place: Place) -> dict[str, str]:
    table = _mapping(value, place)
    for name in table:
        _text(name, place)
        if not name or "=" in name:
            raise place.mistake(f"{found(name)} can name no variable: it must not be empty or hold '='")
    return {name: _text(text, place.at(name)) for name, text in table.items()}


def _command(value: Any, place: Place) -> str | list[str]:
    if isinstance(value, list):
        words: list[str] = _list_of(_text)(value, place)
        if not words or not words[0]:
            raise place.mistake("must name a program first: a list such as ['make', 'all']")
        return words
    if isinstance(value, str):
        return _words(value, place)
    raise place.mistake(f"must be a shell line or a list of text, not {found(value)}")


def _python(value: Any, place: Place) -> str:
    match = _PYTHON.fullmatch(_text(value, place))
    if match is None:
        raise place.mistake(f'must be a file and a name in it, such as "flows.py:nightly", not {found(value)}')
    return f"{_path(match[1], place)}:{match[2]}"


def _scripts(value: Any, place: Place) -> dict[str, Any]:
    table = _mapping(value, place)
    return {_words(pattern, place): check_script(entry, place.at(pattern)) for pattern, entry in table.items()}


def _workflows(value: Any, place: Place) -> dict[str, Any]:
    table = _mapping(value, place)
    for name in table:
        if not _text(name, place) or re.search(r"[\s/:]", name):
            raise place.mistake(f"the workflow's name {found(name)} must not be empty or hold a space, '/' or ':'")
    return {name: _workflow(entry, place.at(name)) for name, entry in table.items()}


def _workflow(value: Any, place: Place) -> dict[str, Any]:
    table = _table(value, place, _WORKFLOW)
    _exactly_one(table, place, "python", "steps")
    return table


def _steps(value: Any, place: Place) -> dict[str, Any]:
    table = _mapping(value, place)
    if not table:
        raise place.mistake("must hold at least one step")
    steps = {_words(name, place): _table(step, place.at(name), _STEP) for name, step in table.items()}
    for name, step in steps.items():
        _exactly_one(step, place.at(name), "script", "run")
        for index, other in enumerate(step.get("depends_on", ())):
            if other not in steps:
                where = place.at(name).at("depends_on").at(index)
                raise where.mistake(f"{found(other)} is no step of this workflow{hint(other, steps)}")
    return steps


def _exactly_one(table: Mapping[str, Any], place: Place, one: str, other: str) -> None:
    if (one in table) is (other in table):
        raise place.mistake(
            f"must have either {one!r} or {other!r}, {'not both' if one in table else 'and has neither'}"
        )


_LIMITS: dict[str, _Check] = {
    "timeout": _or_null(_seconds),
    "memory": _or_null(_bytes),
    "retries": _whole(0),
    "env": _env,
}
_DEFAULTS: dict[str, _Check] = {"jobs": _or_null(_jobs), **_LIMITS}
_SCRIPT: dict[str, _Check] = {
    **_LIMITS,
    "args": _list_of(_text),
    "depends_on": _list_of(_words),
    "description": _text,
    "cwd": _path,
}
_STEP: dict[str, _Check] = {**_SCRIPT, "script": _path, "run": _command}
_WORKFLOW: dict[str, _Check] = {
    "description": _text,
    "timeout": _or_null(_seconds),
    "jobs": _or_null(_jobs),
    "python": _python,
    "steps": _steps,
}
_CONFIG: dict[str, _Check] = {
    "defaults": lambda value, place: _table(value, place, _DEFAULTS),
    "scripts": _scripts,
    "workflows": _workflows,
    "discovery": lambda value, place: _table(
        value,
        place,
        {"root": _or_null(_path), "include": _list_of(_words), "exclude": _list_of(_words)},
    ),
}
