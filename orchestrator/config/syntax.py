"""From a file to a table: bytes, text, TOML, JSON. Each mistake is a ConfigError with its line, where it is known.

`files` (which adds YAML) and `inline` read with these. Reading is bounded in bytes and
depth, and never waits: what is no regular file is not opened.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import Any

from orchestrator.config.places import mistake
from orchestrator.exceptions import ConfigError
from orchestrator.regular import read_regular
from orchestrator.wording import visible

MOST_BYTES = 1 << 20
MOST_DEPTH = 50

_MOST_DOTS = 1000
"""In one line of TOML: tomllib's time grows with the square of the parts of a dotted key."""

_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_head(path: str) -> bytes | None:
    """Return the first `MOST_BYTES` of a file and one byte more if there is one; None for what is no regular file.

    A FIFO or a device is not opened, so nothing waits for it and nothing is taken from it. Raises OSError, and
    ValueError for a path with a NUL.
    """
    return read_regular(path, MOST_BYTES + 1)


def read_text(path: str, file: str) -> str:
    """Return the text of a config file in UTF-8, without its byte order mark; `file` is its name in errors.

    Raises ConfigError for a file that is missing, unreadable, no regular file, larger than 1 MB or no UTF-8.
    """
    try:
        data = read_head(path)
    except OSError as error:
        raise ConfigError(f"{visible(file)}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{visible(file)}: is no path: {error}") from error
    if data is None:
        kind = "a directory" if os.path.isdir(path) else "a FIFO, socket or device"
        raise ConfigError(f"{visible(file)}: is {kind}; a config is a regular file")
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{visible(file)}: is larger than 1 MB, the most that is read")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise mistake(file, f"the byte 0x{byte:02x} is no UTF-8; save the file as UTF-8", line) from None


def read_toml(text: str, file: str, first_line: int = 1) -> dict[str, Any]:
    """Return the table of a TOML document; `first_line` is the number in the file of the text's first line.

    Raises ConfigError for a syntax error and for what is nested too deeply.

    >>> read_toml("[defaults]\\njobs = 2", "a.toml")
    {'defaults': {'jobs': 2}}
    """
    lines = text.split("\n")
    for number, line in enumerate(lines, first_line):
        if line.count(".") > _MOST_DOTS:
            raise mistake(file, f"more than {_MOST_DOTS} dots in one line", number)
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise _too_deep(file) from None
    except ValueError as error:  # TOMLDecodeError, and int() for a number of thousands of digits
        place = _TOML_PLACE.search(str(error))
        if place is None:
            raise mistake(file, f"no valid TOML: {error}") from None
        line_number = int(place[1]) if place[1] else len(text.rstrip("\n").split("\n"))
        what = f"no valid TOML: {str(error)[: place.start()]}"
        raise mistake(file, what, line_number + first_line - 1) from None
    _check_depth(table, file)
    return table


def read_json(text: str, file: str) -> Any:
    """Return the value of a JSON document (RFC 8259), in which no key may stand twice.

    Raises ConfigError for a syntax error and for what is nested too deeply.

    >>> read_json('{"jobs": 2, "jobs": 3}', "a.json")
    Traceback (most recent call last):
    orchestrator.exceptions.ConfigError: a.json: the key 'jobs' stands twice in one table
    """

    def table_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise mistake(file, f"the key {key[:80]!r} stands twice in one table")
            table[key] = value
        return table

    try:
        value = json.loads(text, object_pairs_hook=table_of)
    except ConfigError:
        raise
    except RecursionError:
        raise _too_deep(file) from None
    except json.JSONDecodeError as error:
        raise mistake(file, f"no valid JSON: {error.msg}", error.lineno, error.colno) from None
    except ValueError as error:  # int(), for a number of thousands of digits
        raise mistake(file, f"no valid JSON: {error}") from None
    _check_depth(value, file)
    return value


def _check_depth(value: Any, file: str) -> None:
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise _too_deep(file)


def _too_deep(file: str) -> ConfigError:
    return mistake(file, f"nested deeper than {MOST_DEPTH} levels")
