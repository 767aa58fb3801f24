"""The single values of a workflow file: texts, conditions, numbers, tables of variables. Called by `reading`.

Each function takes what YAML gave and the spot where it stands, and returns the value of `model` for it or raises a
ConfigError that names the spot. What will not happen as on GitHub becomes a note of the spot.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from orchestrator.config.places import Place, cut, dotted, found, hint
from orchestrator.exceptions import ConfigError
from orchestrator.pipelines.actions.expressions import (
    Expression,
    ExpressionError,
    Template,
    parse_condition,
    parse_template,
    text_of,
)
from orchestrator.pipelines.actions.keys import (
    KEYS,
    REFUSED_SHELLS,
    SECRETS_REFUSED,
    SHELLS,
    allows_expressions,
    below,
    shell_verdict,
    unavailable,
)
from orchestrator.pipelines.actions.model import Concurrency, Note, Run
from orchestrator.wording import visible

_OPENS = "${{"
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MOST_ID = 99
_TOKEN = re.compile(r"\bgithub\s*(?:\.\s*token\b|\[\s*'token'\s*\])", re.IGNORECASE)
"""GitHub's own secret, in a context that holds no other."""

_Checked = TypeVar("_Checked")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where in a file something stands, by its own keys and by those of the table of keys, and who takes the notes.

    `notes` is the one list of the file, `refusals` that of the job or step that is being read. What stands in a part
    that is not `used` here may ask for secrets: nobody will look for them.
    """

    place: Place
    key: str
    notes: list[Note]
    refusals: list[Note]
    used: bool = True

    def at(self, name: str | int, key: str | None = None) -> Spot:
        """Return the spot of a key of this table or an item of this list; `key` is its name in the table of keys."""
        if key is None:
            key = f"{self.key}.{name}" if self.key else str(name)
        return replace(self, place=self.place.at(name), key=key)

    def mistake(self, text: str) -> ConfigError:
        """Return the error that says what is wrong here."""
        return self.place.mistake(text)

    def note(self, kind: Literal["no-op", "skipped", "refused", "warning"], what: str) -> Note:
        """Note what will not happen here as on GitHub, and return the note."""
        note = Note(kind, written(self.place), what)
        self.notes.append(note)
        if kind == "refused":
            self.refusals.append(note)
        return note


def written(place: Place) -> str:
    """Write a place as a note has it: file, line where known, keys."""
    ways = (place.keys[:length] for length in range(len(place.keys), 0, -1))
    line = next((place.lines[way] for way in ways if way in place.lines), None)
    return f"{visible(place.file)}{f', line {line}' if line else ''}: {cut(dotted(place.keys), 200)}"


def mapping(value: Any, spot: Spot) -> dict[str, Any]:
    """Return a table of any keys; an empty one for a key with nothing below it."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        hold = f": {_OPENS} }}}} may stand for its values, not for the table" if _holds_expression(value) else ""
        raise spot.mistake(f"must be a table of keys and values, not {found(value)}{hold}")
    return value


def table(value: Any, spot: Spot) -> dict[str, Any]:
    """Return a table of known keys; note those that are no-ops or refused."""
    verdicts = below(spot.key)
    checked = mapping(value, spot)
    for name in checked:
        if name not in verdicts:
            raise spot.at(name).mistake(f"unknown key{hint(name, verdicts)}")
    if KEYS.get(spot.key, ("supported", ""))[0] != "supported":
        return checked  # one note, on the table
    for name, verdict in verdicts.items():
        if name in checked and verdict in ("no-op", "refused"):
            there = spot.at(name)
            there.note(verdict, f"{_named(checked[name])}{KEYS[there.key][1]}")
    return checked


def _named(value: Any) -> str:
    """Return the text that a note about a key begins with: the name that it gives, if it gives one."""
    name = value.get("name") if isinstance(value, dict) else value
    return f"{cut(repr(name))}: " if isinstance(name, str) else ""


def text(value: Any, spot: Spot) -> str:
    """Return text that may hold no expression."""
    checked = _scalar(value, spot)
    if _OPENS in checked:
        raise spot.mistake(f"must be known when the file is read: no {_OPENS} }}}} may stand here")
    return checked


def words(value: Any, spot: Spot) -> str:
    """Return text that is not empty and holds no expression."""
    checked = text(value, spot)
    if not checked.strip():
        raise spot.mistake("must not be empty")
    return checked


def texts(value: Any, spot: Spot) -> list[tuple[str, Spot]]:
    """Return the texts of a list, or the one that stands for a list, each with its spot."""
    if not isinstance(value, list):
        return [(words(value, spot), spot)]
    return [(words(item, spot.at(index, spot.key)), spot.at(index, spot.key)) for index, item in enumerate(value)]


def identifier(value: Any, spot: Spot) -> str:
    """Return the id of a job or step."""
    checked = words(value, spot)
    if not _ID.fullmatch(checked) or len(checked) > _MOST_ID:
        rule = f"letters, digits, '_' and '-', the first a letter or '_', {_MOST_ID} at most"
        raise spot.mistake(f"{found(checked)} is no id: {rule}")
    if checked.startswith("__"):
        raise spot.mistake(f"{found(checked)} is no id: GitHub keeps those that start with '__' for itself")
    return checked


def template(value: Any, spot: Spot) -> Template:
    """Return text that may hold expressions, all of which can be asked here."""
    checked = _scalar(value, spot)
    try:
        parsed = parse_template(checked)
    except ExpressionError as error:
        raise spot.mistake(str(error)) from None
    if not parsed.is_plain and not allows_expressions(spot.key):
        raise spot.mistake(f"no expression may stand here, not {found(checked)}{_instead(spot.key)}")
    _check_asked(parsed, spot)
    return parsed


def filled_template(value: Any, spot: Spot) -> Template:
    """Return text that is not empty and may hold expressions."""
    parsed = template(value, spot)
    if not parsed.text.strip():
        raise spot.mistake("must not be empty")
    return parsed


def condition(value: Any, spot: Spot) -> Expression:
    """Return what stands after `if`."""
    try:
        parsed = parse_condition(_scalar(value, spot))
    except ExpressionError as error:
        raise spot.mistake(str(error)) from None
    _check_asked(parsed, spot)
    return parsed


def flag(value: Any, spot: Spot) -> Template:
    """Return true or false, or an expression that gives one."""
    if isinstance(value, bool) or _is_expression(value):
        return template(value, spot)
    raise spot.mistake(
        f"must be true or false, or one expression in {_OPENS} }}}}, not {found(value)}{_unquote(value)}"
    )


def known_flag(value: Any, spot: Spot) -> Template | bool:
    """Return true or false as such, or an expression."""
    parsed = flag(value, spot)
    return value if isinstance(value, bool) else parsed


def minutes(value: Any, spot: Spot) -> Template:
    """Return a number of minutes above zero, or an expression that gives one."""
    if _is_expression(value):
        return template(value, spot)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise spot.mistake(f"must be a number of minutes above zero, or one expression, not {found(value)}")
    return template(value, spot)


def most(value: Any, spot: Spot) -> Template | int:
    """Return a whole number of 1 or more, or an expression that gives one."""
    if _is_expression(value):
        return template(value, spot)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise spot.mistake(f"must be a whole number, 1 or more, or one expression, not {found(value)}")
    return value


def variables(value: Any, spot: Spot) -> dict[str, Template]:
    """Return the variables of an `env`."""
    checked = {}
    for name, inner in mapping(value, spot).items():
        there = spot.at(name, spot.key)
        if not name or "=" in name or _OPENS in name:
            raise there.mistake(f"{found(name)} can name no variable: it must not be empty or hold '=' or {_OPENS!r}")
        checked[name] = template(inner, there)
    return checked


def run_defaults(value: Any, spot: Spot, outer: Run) -> Run:
    """Return what `defaults` says, and of the outer ones what it does not say."""
    inner = table(value, spot).get("run")
    there = spot.at("run")
    said = table(inner, there)
    return Run(
        shell(said["shell"], there.at("shell")) if "shell" in said else outer.shell,
        filled_template(said["working-directory"], there.at("working-directory"))
        if "working-directory" in said
        else outer.working_directory,
    )


def shell(value: Any, spot: Spot) -> Template:
    """Return a shell; one that is known only when it runs is checked then."""
    parsed = filled_template(value, spot)
    if parsed.is_plain and shell_verdict(parsed.text) == "unknown":
        near = hint(parsed.text, (*SHELLS, *REFUSED_SHELLS))
        raise spot.mistake(f"{found(parsed.text)} is no shell, and no command with {{0}} for the script's path{near}")
    return parsed


def concurrency(value: Any, spot: Spot) -> Concurrency:
    """Return a concurrency group."""
    if not isinstance(value, dict):
        return Concurrency(filled_template(value, spot))
    said = table(value, spot)
    if "group" not in said:
        raise spot.mistake("needs `group`, the name of the group")
    stop = known_flag(said.get("cancel-in-progress", False), spot.at("cancel-in-progress"))
    return Concurrency(filled_template(said["group"], spot.at("group")), stop)


def optional(check: Callable[[Any, Spot], _Checked], said: Mapping[str, Any], name: str, spot: Spot) -> _Checked | None:
    """Return the checked value of a key of a table, None where the key is missing or has nothing behind it."""
    return None if said.get(name) is None else check(said[name], spot.at(name))


def _scalar(value: Any, spot: Spot) -> str:
    if isinstance(value, (list, dict)):
        raise spot.mistake(f"must be text, not {found(value)}")
    return text_of(value)


def _check_asked(asked: Template | Expression, spot: Spot) -> None:
    """See to it that what an expression asks for is there; note what will be empty, or refuses all around it."""
    problem = unavailable(spot.key, asked.contexts, asked.functions)
    if problem is not None:
        raise spot.mistake(problem)
    if not spot.used:
        return
    if "secrets" in asked.contexts or _TOKEN.search(asked.text):
        spot.note("refused", SECRETS_REFUSED)
    for context in sorted(asked.contexts & {"vars", "inputs"}):
        spot.note("warning", f"`{context}` is filled in by GitHub: it is empty here")


def _holds_expression(value: Any) -> bool:
    return isinstance(value, str) and _OPENS in value


def _is_expression(value: Any) -> bool:
    """Say whether a value is text that is one expression, as far as that can be seen."""
    return isinstance(value, str) and value.strip().startswith(_OPENS) and value.strip().endswith("}}")


def _unquote(value: Any) -> str:
    return ": leave the quotes off" if value in ("true", "false") else ""


def _instead(key: str) -> str:
    return ": `jobs.<id>.defaults.run.shell` may hold one" if key.endswith(".shell") else ""
