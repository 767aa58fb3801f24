"""The config: one file found upward from the working directory, the environment above it, a script's own table.

`read_config` finds, reads and checks; `script_config` says what holds for one script. What a file may say stands in
`orchestrator.config.schema`. Whoever reads the config gets values that are normalised: seconds, bytes, absolute paths.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import settings
from orchestrator.config.entries import beside, entries_for, merge, stem
from orchestrator.config.inline import Inline, read_inline
from orchestrator.config.places import Keys, Place, closest, cut, dotted, leaves, mistake
from orchestrator.config.schema import check_config, check_script
from orchestrator.config.syntax import MOST_DEPTH, read_head, read_json, read_text, read_toml
from orchestrator.exceptions import ConfigError
from orchestrator.wording import visible

if TYPE_CHECKING:
    import yaml

NAMES = ("orchestrator.toml", "orchestrator.yaml", "orchestrator.yml", "orchestrator.json")
"""The files that are looked for, in this order; after them a pyproject.toml with `[tool.orchestrator]`."""

_PYPROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Config:
    """What was read, and where it came from.

    `path` is the absolute path of the file, None when there was none. `values` is what `load_config` returns.
    `origins` gives for each dotted key of `values` that holds no table, or an empty one, the name of the file or
    of the variable it comes from, or "default".
    """

    path: str | None
    values: dict[str, Any]
    origins: Mapping[str, str]

    @property
    def folder(self) -> str | None:
        """The folder that the file lies in; None without a file."""
        return None if self.path is None else os.path.dirname(self.path)


def load_config(path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the config as a dict with the sections `defaults`, `scripts`, `workflows` and `discovery`.

    `path` names the file; without it the nearest one is taken, see `read_config`, which also raises what this does.
    Timeouts are seconds as floats, memory is bytes, `jobs` a whole number or text such as "50%" or "auto"; paths
    are absolute. `defaults` and `discovery` have all their keys, the others those that are set.

    >>> sorted(load_config())
    ['defaults', 'discovery', 'scripts', 'workflows']
    """
    return read_config(path).values


def read_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the named file, else the nearest one, else nothing but defaults; then the environment, which wins.

    Looked for, from the working directory upward to the folder that holds `.git` (outside of a repository: to the
    home directory or the root): orchestrator.toml, .yaml, .yml or .json, else a pyproject.toml that has the table
    `[tool.orchestrator]` (PEP 518 gives `tool` tables to tools). The suffix of a named file tells its format.

    `CODOMYRMEX_MAX_WORKERS` sets `defaults.jobs`, `CODOMYRMEX_SCRIPT_ROOT` (relative to the working directory)
    `discovery.root`, `CODOMYRMEX_WORKFLOW_TIMEOUT` the `timeout` of every workflow in the file.

    Raises ConfigError for the first mistake, in the file or in a variable, and for two files in one folder.
    """
    values: dict[str, Any] = {
        "defaults": {"jobs": None, "timeout": None, "memory": None, "retries": 0, "env": {}},
        "scripts": {},
        "workflows": {},
        "discovery": {"root": None, "include": [], "exclude": []},
    }
    file = _find() if path is None else os.fsdecode(path)
    given: dict[str, Any] = {} if file is None else _read(file)
    for section, table in given.items():
        values[section].update(table)
    source = {keys: str(file) for keys, _ in leaves(given)} | _set_from_environment(values)
    origins = {dotted(keys): source.get(keys, "default") for keys, _ in leaves(values)}
    return Config(None if file is None else os.path.abspath(file), values, origins)


def get_script_config(script_name: str) -> dict[str, Any]:
    """Return what holds for one script: `script_config` by its path, or by a name that `discover_scripts` finds.

    A name is a path below the folder of the config, a file's name, or that without its suffix. A name of no file
    for which the config has an entry gets that entry, with None as its `path`.

    Raises FileNotFoundError for another name, with those closest to it, ConfigError for a name of several scripts
    and for a mistake in the config or the script.
    """
    config = read_config()
    if os.path.isfile(script_name):
        return script_config(script_name, config)
    from orchestrator.discovery import discover_scripts  # late: it reads the config too

    scripts = discover_scripts()
    for name_of in (_below(config.folder), os.path.basename, stem):
        found = [script for script in scripts if name_of(script) == script_name]
        if len(found) > 1:
            listed = ", ".join(map(visible, found[:10]))
            raise ConfigError(f"{visible(script_name)} is the name of {len(found)} scripts, give a path: {listed}")
        if found:
            return script_config(found[0], config)
    if entries := list(entries_for((script_name,), config.values["scripts"], config.folder or "")):
        return merge(None, "", config.values["defaults"], entries)
    names = sorted({os.path.basename(script) for script in scripts})
    near = closest(script_name, [*names, *map(stem, scripts)])
    listed = cut(", ".join(map(visible, names)), 400) or "none"
    hint = f"did you mean {near!r}?" if near else f"scripts here: {listed}"
    raise FileNotFoundError(f"there is no script {cut(repr(script_name))}; {hint}")


def script_config(path: str | os.PathLike[str], config: Config) -> dict[str, Any]:
    """Return what holds for the script at `path`: `path` (absolute), `description`, `timeout` (seconds), `memory`
    (bytes), `retries`, `depends_on`, `args`, `env` and `cwd`.

    Later wins, and `env` is merged: the config's `defaults`; each entry of its `scripts` whose pattern fits, in the
    file's order; the script's own `[tool.orchestrator]` table (PEP 723). A pattern fits as fnmatch says to the
    path below the config's folder or to the file's name, or is the file's name without suffix. Without a
    description the script's own first line is taken. A dependency that is a file next to whoever names it becomes
    an absolute path, any other stays a name.

    The script is read once and need not exist. Raises ConfigError for a mistake in its own table.
    """
    name = os.fsdecode(path)
    try:
        inline = read_inline(name)
    except ConfigError:
        raise
    except (OSError, ValueError):  # missing or unreadable, which is for its run to report
        inline = Inline()
    full = os.path.abspath(name)
    names = (_below(config.folder)(full), os.path.basename(full))
    entries = list(entries_for(names, config.values["scripts"], config.folder or ""))
    if inline.table:
        folder = os.path.dirname(full)
        own = check_script(inline.table, Place(name, folder, ("tool", "orchestrator")))
        entries.append(beside(own, folder))
    return merge(full, inline.description, config.values["defaults"], entries)


def _below(folder: str | None) -> Callable[[str], str]:
    """Return what gives paths relative to the folder; without one to the working directory."""
    return lambda path: os.path.relpath(path, folder)


def _set_from_environment(values: dict[str, Any]) -> dict[Keys, str]:
    """Set what variables say, and return which of them said it."""
    try:
        jobs = settings.max_workers() if os.environ.get("CODOMYRMEX_MAX_WORKERS", "").strip() else None
        root = settings.script_root()
        timeout = settings.workflow_timeout()
    except ValueError as error:
        raise ConfigError(str(error)) from None
    source: dict[Keys, str] = {}
    if jobs is not None:
        values["defaults"]["jobs"] = jobs
        source["defaults", "jobs"] = "CODOMYRMEX_MAX_WORKERS"
    if root is not None:
        values["discovery"]["root"] = os.path.abspath(root)
        source["discovery", "root"] = "CODOMYRMEX_SCRIPT_ROOT"
    if timeout is not None:
        for name, workflow in values["workflows"].items():
            workflow["timeout"] = timeout
            source["workflows", name, "timeout"] = "CODOMYRMEX_WORKFLOW_TIMEOUT"
    return source


def _find() -> str | None:
    """Return the nearest config, as a path relative to the working directory."""
    try:
        start = os.getcwd()
    except FileNotFoundError:  # it was removed
        return None
    for folder in _upward(start):
        found = [name for name in NAMES if os.path.lexists(os.path.join(folder, name))]
        if len(found) > 1:
            raise ConfigError(
                f"{visible(folder)}: holds {' and '.join(found)}; keep one of them, or name the one to read"
            )
        if not found and _has_table(os.path.join(folder, _PYPROJECT)):
            found = [_PYPROJECT]
        if found:
            return os.path.relpath(os.path.join(folder, found[0]), start)
    return None


def _upward(start: str) -> list[str]:
    """Return the folders to search: up to the repository's root; outside of one to the home directory or the root."""
    folders = [start]
    while (parent := os.path.dirname(folders[-1])) != folders[-1]:
        folders.append(parent)
    home = os.path.realpath(os.path.expanduser("~"))
    for is_last in (lambda folder: os.path.lexists(os.path.join(folder, ".git")), lambda folder: folder == home):
        for number, folder in enumerate(folders, 1):
            if is_last(folder):
                return folders[:number]
    return folders


def _has_table(pyproject: str) -> bool:
    """Tell whether a pyproject.toml has our table. One that cannot be read is a mistake only if it may have it."""
    with contextlib.suppress(OSError):
        if b"orchestrator" not in (read_head(pyproject) or b""):
            return False
    return os.path.lexists(pyproject) and _read_pyproject(pyproject, os.path.relpath(pyproject)) is not None


def _read_pyproject(path: str, file: str) -> Any:
    tool = read_toml(read_text(path, file), file).get("tool")
    return tool.get("orchestrator") if isinstance(tool, dict) else None


def _read(file: str) -> dict[str, Any]:
    """Return the tables of a config file, checked and normalised."""
    full = os.path.abspath(file)
    folder, name = os.path.split(full)
    suffix = os.path.splitext(name)[1]
    keys: Keys = ()
    lines: dict[Keys, int] = {}
    if name == _PYPROJECT:
        value, keys = _read_pyproject(full, file), ("tool", "orchestrator")
    elif suffix in (".toml", ".yaml", ".yml", ".json"):
        text = read_text(full, file)
        if not text.strip():
            value = {}
        elif suffix == ".toml":
            value = read_toml(text, file)
        elif suffix == ".json":
            value = read_json(text, file)
        else:
            value, lines = _read_yaml(text, file)
    else:
        raise mistake(file, "no known format: a config's name ends in .toml, .yaml, .yml or .json")
    return check_config(value, Place(file, folder, keys, lines))


def _read_yaml(text: str, file: str) -> tuple[Any, dict[Keys, int]]:
    """Return the value of a YAML document, and the line of each key.

    Refused, besides what PyYAML refuses: aliases, tags, a key that stands twice in a mapping, deep nesting. Dates
    and numbers with colons (1:30 is 90 in YAML 1.1) stay text, as in YAML 1.2.
    """
    import yaml  # late: it takes as long as a short script, and most configs are TOML

    try:
        _check_events(yaml.parse(text, yaml.SafeLoader), file)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines = dict(_lines(node, file)) if node else {}
        return loader.construct_document(node) if node else None, lines
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise mistake(file, f"no valid YAML: the character {chr(error.character)!r} is not allowed", line) from None
    except yaml.MarkedYAMLError as error:
        cure = "; indent with spaces, not with tabs" if "'\\t'" in str(error.problem) else ""
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise mistake(file, f"no valid YAML: {error.problem or error.context}{cure}", *place) from None
    except ConfigError:
        raise
    except ValueError as error:  # int(), for a number of thousands of digits
        raise mistake(file, f"no valid YAML: {error}") from None


def _check_events(events: Iterator[yaml.Event], file: str) -> None:
    """Refuse what would let a small file become a large or strange value."""
    import yaml

    depth = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            raise mistake(
                file, f"the alias *{cut(str(event.anchor))}: aliases are not read, write the value again", line
            )
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag:
            raise mistake(file, f"the tag {cut(event.tag)}: tags are not read, quote what is text", line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise mistake(file, f"nested deeper than {MOST_DEPTH} levels", line)


def _lines(node: yaml.Node, file: str, keys: Keys = ()) -> Iterator[tuple[Keys, int]]:
    """Yield the line of each key and item; refuse a key that stands twice; make text of dates and of 1:30."""
    import yaml

    kind = node.tag.rpartition(":")[2]
    if kind == "timestamp" or (kind in ("int", "float") and ":" in node.value):
        node.tag = "tag:yaml.org,2002:str"
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*keys, index), item.start_mark.line + 1
            yield from _lines(item, file, (*keys, index))
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            yield from _lines(key, file, keys)
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                where = dotted((*keys, name))
                raise mistake(file, f"{cut(where, 200)}: stands twice, first in line {first[name]}", line)
            first[name] = line
            yield (*keys, name), line
            yield from _lines(value, file, (*keys, name))
