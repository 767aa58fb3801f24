"""Which files of a tree are scripts: `discover_scripts` lists them, and never imports or runs one.

The tree is walked once, with a stack of our own. What is left out is decided on the way down, as git does it, so
that a folder left out costs nothing. A file is opened only if its name, place and mode leave the question open.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator import settings
from orchestrator.exceptions import ConfigError
from orchestrator.gitignore import Ignores, Rules, parse, read_if_there, repository

# setup.py can be run, but what it does is to build or install; conftest.py is pytest's.
_NO_SCRIPTS = frozenset({"__init__.py", "conftest.py", "setup.py"})
_LEFT_OUT_FOLDERS = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages"})

_SURE_CHARACTERS = 1000
"""A path of so few characters is shorter than PATH_MAX (4,096 bytes), however they are encoded."""

_STRING = "|".join(rf"{3 * q}(?>[^{q}\\]+|\\.|{q}(?!{2 * q}))*+{3 * q}|{q}(?>[^{q}\\\n]+|\\.)*+{q}" for q in "\"'")
_MAIN = "(?:\"__main__\"|'__main__')"
_GUARD = rf"""^(?:el)?if\b[^\n#"']*?(?:\b__name__\s*==\s*{_MAIN}|{_MAIN}\s*==\s*__name__\b)"""
# Not ast: it prints warnings about the files of others, and refuses what is written for another Python.
_GUARD_STRING_OR_COMMENT = re.compile(rf"(?P<guard>{_GUARD})|#[^\n]*|{_STRING}".encode(), re.DOTALL | re.MULTILINE)
_PEP_723 = re.compile(rb"^# /// script$\s(?:^#(?:| .*)$\s)+^# ///$", re.MULTILINE)


def discover_scripts(root: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the paths of all scripts below a folder, sorted.

    Without `root` it is `CODOMYRMEX_SCRIPT_ROOT`, else `discovery.root` of the configuration, else the working
    directory. The configuration also says what to include and to exclude. See `find_scripts` for what is a
    script and for the errors; the configuration adds its own.
    """
    from orchestrator.config import read_config

    config = read_config()
    wanted = config.values["discovery"]
    if root is not None:
        return find_scripts(root, wanted["include"], wanted["exclude"])
    chosen = wanted["root"]
    if chosen is None:
        found = find_scripts(os.curdir, wanted["include"], wanted["exclude"])
        return [path.removeprefix(os.path.join(os.curdir, "")) for path in found]
    try:
        return find_scripts(chosen, wanted["include"], wanted["exclude"])
    except OSError as error:
        raise ConfigError(
            f"{config.origins['discovery.root']}: discovery.root: {chosen!r}: {error.strerror}"
        ) from error


def find_scripts(root: str | os.PathLike[str], include: Iterable[str] = (), exclude: Iterable[str] = ()) -> list[str]:
    """Return the paths of all scripts below `root`, sorted; each is `root` joined with the path below it.

    Scripts are `*.py` files, and executable files that begin with `#!`. A module of a package (a folder with
    `__init__.py`), and `flows.py`, is one only if it has a main guard, a `#!` line or a block of inline metadata
    (PEP 723); `__main__.py` of a package only with a `#!` line; `__init__.py`, `conftest.py` and `setup.py` never.

    Left out are hidden files and folders, virtual environments, caches, `build`, `dist`, `node_modules`,
    `*.egg-info`, and what git ignores by `.gitignore` and `.git/info/exclude` of the repository (gitignore(5); the
    user's own ignore file and what is tracked all the same do not count). Without a repository the `.gitignore`
    files at the root and below count.

    `include` and `exclude` are patterns like those of `.gitignore`, relative to `root`. `exclude` leaves out more,
    and wins. A file that `include` matches is listed whatever it looks like; a folder that it matches is entered,
    its files being judged as everywhere. A folder that is left out is otherwise entered only if a pattern names it
    from the root on (`.ci/run`, `build/tools/*.sh`): `*.sh` finds nothing in it.

    A link to a file counts as a file. A link to a folder is followed if that lies below the root and is not
    reached without the link. What cannot be read, vanishes meanwhile or has too long a path is passed over; of
    a module longer than 16 MiB only the beginning is looked at.

    Raises FileNotFoundError if there is no such root, NotADirectoryError if it is no folder, and another OSError if it
    cannot be read.
    """
    base = os.fsdecode(root)
    try:
        is_folder = stat.S_ISDIR(os.stat(base).st_mode)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to look for scripts in", base) from None
    if not is_folder:
        raise NotADirectoryError(errno.ENOTDIR, "scripts are looked for in a folder, and this is none", base)
    return sorted(_Search(base, tuple(include), tuple(exclude)).paths())


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to look through. `path` is below the root and ends with a slash; `real` has no links.

    A `welcome` one was asked for. A `shut` one is left out, and entered only for what `include` names.
    """

    path: str
    real: str
    ignores: Ignores
    welcome: bool = False
    shut: bool = False


class _Search:
    """One walk over a tree."""

    def __init__(self, base: str, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._base = base
        self._root = os.path.realpath(base)
        self._include, self._exclude = Rules(include), Rules(exclude)
        self._passages = Rules(_passages(include))
        self._below, ignores = repository(self._root)
        self._waiting = [_Folder("", self._root, ignores, welcome=True)]
        self._links: list[_Folder] = []

    def paths(self) -> Iterator[str]:
        """Yield the scripts' paths, in no order."""
        seen: set[str] = set()
        while self._waiting or self._links:
            if not self._waiting:  # so a folder is reached through a link only if there is no other way
                self._links.sort(key=lambda link: link.path, reverse=True)
                self._waiting.append(self._links.pop())
            folder = self._waiting.pop()
            if folder.real not in seen:
                seen.add(folder.real)
                yield from self._look_through(folder)

    def _look_through(self, folder: _Folder) -> Iterator[str]:
        try:
            with os.scandir(os.path.join(self._base, folder.path)) as listing:
                entries = {entry.name: entry for entry in listing}
        except OSError:
            if folder.path:
                return
            raise
        ignores, shut = folder.ignores, folder.shut
        if "pyvenv.cfg" in entries and not folder.welcome:
            if self._passages.verdict(folder.path, _last(folder.path)) is not True:
                return
            shut = True
        if ".gitignore" in entries:
            rules = parse(read_if_there(entries[".gitignore"].path, os.O_NOFOLLOW))
            ignores = (*ignores, (len(self._below) + len(folder.path), rules))
        in_package = "__init__.py" in entries
        for entry in entries.values():
            try:
                if entry.is_dir():
                    self._meet(entry, folder, ignores, shut)
                elif self._is_listed(entry, folder.path, ignores, in_package, shut) and _is_short(entry.path):
                    yield entry.path
            except OSError:  # it has just vanished, is a link in a circle, or its path is too long
                continue

    def _meet(self, entry: os.DirEntry[str], folder: _Folder, ignores: Ignores, shut: bool) -> None:
        """Put a folder among those to look through, unless it is left out."""
        name = entry.name
        path = f"{folder.path}{name}/"
        if self._exclude.verdict(path, f"{name}/"):
            return
        is_link = entry.is_symlink()
        welcome = self._include.verdict(path, f"{name}/") is True
        if not welcome:
            # To git a link is no folder, wherever it leads.
            shut = shut or _is_left_out(name) or self._ignored(path[:-1] if is_link else path, ignores)
            if shut and not self._passages.verdict(path, f"{name}/"):
                return
        shut = shut and not welcome
        if not is_link:
            self._waiting.append(_Folder(path, f"{folder.real}/{name}", ignores, welcome, shut))
            return
        real = os.path.realpath(entry.path)
        if real.startswith(os.path.join(self._root, "")):
            self._links.append(_Folder(path, real, ignores, welcome, shut))

    def _is_listed(self, entry: os.DirEntry[str], place: str, ignores: Ignores, in_package: bool, shut: bool) -> bool:
        name = entry.name
        path = place + name
        if self._include and self._include.verdict(path, name):
            return entry.is_file() and not self._exclude.verdict(path, name)
        if shut or name.startswith("."):
            return False
        is_python = name.endswith(".py")
        if is_python:
            if name in _NO_SCRIPTS or not entry.is_file():
                return False
        elif not entry.stat().st_mode & 0o111:
            return False
        if self._exclude.verdict(path, name) or self._ignored(path, ignores):
            return False
        if is_python:
            is_module = in_package or name == settings.WORKFLOWS_FILE
            return not is_module or _runs_by_itself(read_if_there(entry.path), name)
        return read_if_there(entry.path, most=2) == b"#!"

    def _ignored(self, path: str, ignores: Ignores) -> bool:
        """Return whether git ignores it: the deepest file with a pattern that matches decides."""
        whole, name = self._below + path, _last(path)
        for start, rules in reversed(ignores):
            verdict = rules.verdict(whole, name, start)
            if verdict is not None:
                return verdict
        return False


def _last(path: str) -> str:
    return path[path.rfind("/", 0, -1) + 1 :]


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name in _LEFT_OUT_FOLDERS or name.endswith(".egg-info")


def _is_short(path: str) -> bool:
    return len(path) < _SURE_CHARACTERS or os.path.exists(path)


def _passages(patterns: Iterable[str]) -> Iterator[str]:
    """Yield the folders that patterns name from the root on: `.ci` and `.ci/jobs` for `.ci/jobs/*.sh`."""
    for pattern in patterns:
        for match in re.finditer(r"(?<=[^/])/(?=[^/])", pattern):
            if not re.search(r"[*?[!\\]", pattern[: match.start()]):
                yield f"/{pattern[: match.start()].removeprefix('/')}/"


def _runs_by_itself(data: bytes, name: str) -> bool:
    """Return whether a module of a package is a script too."""
    if data.startswith(b"#!") or name == "__main__.py":
        return data.startswith(b"#!")
    if b"# /// script" in data and _PEP_723.search(data.replace(b"\r\n", b"\n")):
        return True
    return b"__main__" in data and any(match["guard"] for match in _GUARD_STRING_OR_COMMENT.finditer(data))
