"""The config: one file found upward from the working directory, the environment above it, a script's own table.

`read_config` finds, reads and checks; `script_config` says what holds for one script. What a file may say stands in
`orchestrator.config.schema`. Whoever reads the config gets values that are normalised: seconds, bytes, absolute paths.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import settings
from orchestrator.config.entries import beside, entries_for, merge, stem
from orchestrator.config.inline import Inline, read_inline
from orchestrator.config.places import Keys, Place, closest, cut, dotted, leaves, mistake
from orchestrator.config.schema import check_config, check_script
from orchestrator.config.syntax import read_head, read_json, read_text, read_toml
from orchestrator.config.yaml_syntax import read_yaml
from orchestrator.exceptions import ConfigError
from orchestrator.wording import visible

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
    """Return the config as a dict with the sections `defaults`, `scripts`, `workflows`, `agents` and `discovery`.

    `path` names the file; without it the nearest one is taken, see `read_config`, which also raises what this does.
    Timeouts are seconds as floats, memory is bytes, `jobs` a whole number or text such as "50%" or "auto"; paths
    are absolute. `defaults` and `discovery` have all their keys, the others those that are set.

    >>> sorted(load_config())
    ['agents', 'defaults', 'discovery', 'scripts', 'workflows']
    """
    return read_config(path).values


def read_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the named file, else the nearest one, else nothing but defaults; then the environment, which wins.

    Looked for, from the working directory upward to the folder that holds `.git` (outside of a repository: to the
    home directory or the root): orchestrator.toml, .yaml, .yml or .json, else a pyproject.toml that has the table
    `[tool.orchestrator]` (PEP 518 gives `tool` tables to tools). The suffix of a named file tells its format.

    `CODOMYRMEX_MAX_WORKERS` sets `defaults.jobs`, `CODOMYRMEX_SCRIPT_ROOT` (relative to the working directory)
    `discovery.root`, `CODOMYRMEX_WORKFLOW_TIMEOUT` the `timeout` of every workflow in the file.

    Raises ConfigError for the first mistake, in the file or in a variable, for two files in one folder, and for a
    file of another user's that was found above the working directory outside of a repository.
    """
    values: dict[str, Any] = {
        "defaults": {"jobs": None, "timeout": None, "memory": None, "retries": 0, "env": {}},
        "scripts": {},
        "workflows": {},
        "agents": {},
        "discovery": {"root": None, "include": [], "exclude": []},
    }
    file = _find() if path is None else os.fsdecode(path)
    given: dict[str, Any] = {} if file is None else _read(file)
    for section, table in given.items():
        values[section].update(table)
    source = {keys: str(file) for keys, _ in leaves(given)} | _set_from_environment(values)
    origins = {dotted(keys): source.get(keys, "default") for keys, _ in leaves(values)}
    return Config(None if file is None else os.path.abspath(file), values, origins)


def get_script_config(script_name: str, *, config: Config | None = None) -> dict[str, Any]:
    """Return what holds for one script: `script_config` by its path, or by a name that `discover_scripts` finds.

    `config` is one that was read already (None: the nearest). A name is a path below its folder, a file's name, or that
    without its suffix. A name of no file
    for which the config has an entry gets that entry, with None as its `path`.

    Raises FileNotFoundError for another name, with those closest to it, ConfigError for a name of several scripts
    and for a mistake in the config or the script.
    """
    config = config or read_config()
    path = script_path(script_name, config)
    if path is not None:
        return script_config(path, config)
    if entries := list(entries_for((script_name,), config.values["scripts"], config.folder or "")):
        return merge(None, "", config.values["defaults"], entries)
    raise FileNotFoundError(f"there is no script {cut(repr(script_name))}; {_others(script_name)}")


def script_path(name: str, config: Config) -> str | None:
    """Return the script that is meant by a path, or by a name that `discover_scripts` finds; None for neither.

    Raises ConfigError for a name of several scripts.
    """
    if os.path.isfile(name):
        return name
    from orchestrator.discovery import discover_scripts  # late: it reads the config too

    scripts = discover_scripts()
    for name_of in (_below(config.folder), os.path.basename, stem):
        found = [script for script in scripts if name_of(script) == name]
        if len(found) > 1:
            listed = ", ".join(map(visible, found[:10]))
            raise ConfigError(f"{visible(name)} is the name of {len(found)} scripts, give a path: {listed}")
        if found:
            return found[0]
    return None


def _others(name: str) -> str:
    """Say which scripts there are instead."""
    from orchestrator.discovery import discover_scripts

    scripts = discover_scripts()
    names = sorted({os.path.basename(script) for script in scripts})
    near = closest(name, [*names, *map(stem, scripts)])
    return f"did you mean {near!r}?" if near else f"scripts here: {cut(', '.join(map(visible, names)), 400) or 'none'}"


def script_config(path: str | os.PathLike[str], config: Config, *, described: bool = True) -> dict[str, Any]:
    """Return what holds for the script at `path`: `path` (absolute), `description`, `timeout` (seconds), `memory`
    (bytes), `retries`, `depends_on`, `args`, `env` and `cwd`.

    Later wins, and `env` is merged: the config's `defaults`; each entry of its `scripts` whose pattern fits, in the
    file's order; the script's own `[tool.orchestrator]` table (PEP 723). A pattern fits as fnmatch says to the
    path below the config's folder or to the file's name, or is the file's name without suffix. Without a
    description the script's own first line is taken. A dependency that is a file next to whoever names it becomes
    an absolute path, any other stays a name.

    The script is read once and need not exist. Unless `described`, its own first line is not looked for. Raises
    ConfigError for a mistake in its own table.
    """
    name = os.fsdecode(path)
    try:
        inline = read_inline(name, described=described)
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
    folders = _upward(start)
    is_repository = os.path.lexists(os.path.join(folders[-1], ".git"))
    for folder in folders:
        found = [name for name in NAMES if os.path.lexists(os.path.join(folder, name))]
        if len(found) > 1:
            raise ConfigError(
                f"{visible(folder)}: holds {' and '.join(found)}; keep one of them, or name the one to read"
            )
        if not found and _has_table(os.path.join(folder, _PYPROJECT)):
            found = [_PYPROJECT]
        if found:
            path = os.path.join(folder, found[0])
            if folder != start and not is_repository:
                _check_owner(path)
            return os.path.relpath(path, start)
    return None


def _check_owner(path: str) -> None:
    """Refuse a file that another user has left in a folder above, such as /tmp: it can name commands to run."""
    with contextlib.suppress(OSError):  # whoever reads it will say so
        if os.stat(path).st_uid not in (os.geteuid(), 0):
            raise ConfigError(
                f"{visible(path)}: belongs to another user, and lies above the working directory outside of any "
                "repository; if you trust it, name it"
            )


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
            value, lines = read_yaml(text, file)
    else:
        raise mistake(file, "no known format: a config's name ends in .toml, .yaml, .yml or .json")
    return check_config(value, Place(file, folder, keys, lines))
