"""What a config may say: the keys each table knows, and what their values mean. Pure; paths are only joined.

`check_config` and `check_script` return the table normalised (seconds, bytes, absolute paths), only the keys that
are set. The first mistake is a ConfigError that says where, what was found, what is allowed and what is near.
"""

from __future__ import annotations

import re
from typing import Any

from orchestrator.config import checks
from orchestrator.config.places import Place, found, hint
from orchestrator.placeholders import check_command

_PYTHON = re.compile(r"(.+\.py):([^\W\d]\w*)")


def check_config(value: Any, place: Place) -> dict[str, Any]:
    """Return a whole config, normalised: `defaults`, `scripts`, `workflows`, `agents`, `discovery`, as far as given."""
    return checks.table(value, place, _CONFIG)


def check_script(value: Any, place: Place) -> dict[str, Any]:
    """Return what is said of one script, normalised: in the config under its name, or in the script itself."""
    return checks.table(value, place, _SCRIPT)


def _python(value: Any, place: Place) -> str:
    match = _PYTHON.fullmatch(checks.text(value, place))
    if match is None:
        raise place.mistake(f'must be a file and a name in it, such as "flows.py:nightly", not {found(value)}')
    return f"{checks.path(match[1], place)}:{match[2]}"


def _scripts(value: Any, place: Place) -> dict[str, Any]:
    table = checks.mapping(value, place)
    return {checks.words(pattern, place): check_script(entry, place.at(pattern)) for pattern, entry in table.items()}


def _workflows(value: Any, place: Place) -> dict[str, Any]:
    table = checks.mapping(value, place)
    for name in table:
        if not checks.text(name, place) or re.search(r"[\s/:]", name):
            raise place.mistake(f"the workflow's name {found(name)} must not be empty or hold a space, '/' or ':'")
    return {name: _workflow(entry, place.at(name)) for name, entry in table.items()}


def _workflow(value: Any, place: Place) -> dict[str, Any]:
    table = checks.table(value, place, _WORKFLOW)
    checks.exactly_one(table, place, "python", "steps")
    return table


def _steps(value: Any, place: Place) -> dict[str, Any]:
    table = checks.mapping(value, place)
    if not table:
        raise place.mistake("must hold at least one step")
    steps = {checks.words(name, place): checks.table(step, place.at(name), _STEP) for name, step in table.items()}
    for name, step in steps.items():
        checks.exactly_one(step, place.at(name), "script", "run")
        for index, other in enumerate(step.get("depends_on", ())):
            if other not in steps:
                where = place.at(name).at("depends_on").at(index)
                raise where.mistake(f"{found(other)} is no step of this workflow{hint(other, steps)}")
    return steps


def _agents(value: Any, place: Place) -> dict[str, Any]:
    table = checks.mapping(value, place)
    return {checks.words(name, place): _agent(entry, place.at(name)) for name, entry in table.items()}


def _agent(value: Any, place: Place) -> dict[str, Any]:
    table = checks.table(value, place, _AGENT)
    checks.exactly_one(table, place, "command", "python")
    for key in ("env", "cwd"):
        if key in table and "python" in table:
            raise place.at(key).mistake(
                "is for commands: what stands in Python runs in this program, or in its workers"
            )
    return table


def _template(value: Any, place: Place) -> list[str]:
    words: list[str] = checks.list_of(checks.text)(value, place)
    try:
        check_command(words)
    except ValueError as error:
        raise place.mistake(str(error)) from None
    return words


_LIMITS: dict[str, checks.Check] = {
    "timeout": checks.or_null(checks.seconds),
    "memory": checks.or_null(checks.amount),
    "retries": checks.whole(0),
    "env": checks.env,
}
_DEFAULTS: dict[str, checks.Check] = {"jobs": checks.or_null(checks.jobs), **_LIMITS}
_SCRIPT: dict[str, checks.Check] = {
    **_LIMITS,
    "args": checks.list_of(checks.text),
    "depends_on": checks.list_of(checks.words),
    "description": checks.text,
    "cwd": checks.path,
}
_STEP: dict[str, checks.Check] = {**_SCRIPT, "script": checks.path, "run": checks.command}
_WORKFLOW: dict[str, checks.Check] = {
    "description": checks.text,
    "timeout": checks.or_null(checks.seconds),
    "jobs": checks.or_null(checks.jobs),
    "python": _python,
    "steps": _steps,
}
_AGENT: dict[str, checks.Check] = {
    **_LIMITS,
    "command": _template,
    "python": _python,
    "concurrency": checks.or_null(checks.whole(1)),
    "cwd": checks.path,
    "description": checks.text,
}
_CONFIG: dict[str, checks.Check] = {
    "defaults": lambda value, place: checks.table(value, place, _DEFAULTS),
    "scripts": _scripts,
    "workflows": _workflows,
    "agents": _agents,
    "discovery": lambda value, place: checks.table(
        value,
        place,
        {
            "root": checks.or_null(checks.path),
            "include": checks.list_of(checks.words),
            "exclude": checks.list_of(checks.words),
        },
    ),
}
