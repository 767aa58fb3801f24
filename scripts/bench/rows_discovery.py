"""Row 20: looking for scripts in a large tree, against walks that judge nothing."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

from rows import OURS, Entry, Reading, Row, Scale, WrongResult

FOLDERS, FILES = 2000, 50
TRIES = 3

_IGNORED = "*.log *.tmp *.py[cod] .venv/ build/ dist/ *.egg-info/ htmlcov/ .coverage .cache/ node_modules/ *.so *.o"
_ANCHORED = "/data/raw/ /data/interim/* !/data/interim/keep.py docs/_build/ **/generated/ out/**/*.py /local.py"
_NAMED = "*.swp *.bak *.orig .idea/ .vscode/ Thumbs.db coverage.xml *.mo *.pot ignored_*.py target/ tags"
_GUARD = 'if __name__ == "__main__":\n    main()\n'
_MODULE = '"""A module."""\n\n\ndef main():\n    """Do it."""\n    return "it"\n\n\n' * 40

Count = Callable[[str], int]


def _ours(folder: str) -> int:
    from orchestrator.discovery import find_scripts

    return len(find_scripts(folder))


def _walk(folder: str) -> int:
    return sum(name.endswith(".py") for _, _, names in os.walk(folder) for name in names)


def _git(folder: str) -> int:
    command = ["git", "-C", folder, "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    return sum(name.endswith(b".py") for name in listed.split(b"\0"))


def _milliseconds(count: Count, scale: Scale) -> Reading:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "init", "-q", folder], check=True)
        _plant(folder, scale.of(FOLDERS))
        found = count(folder)  # the first walk also fills the system's caches
        seconds = []
        for _ in range(TRIES):
            start = time.perf_counter()
            if count(folder) != found:
                raise WrongResult("two walks over the same tree found a different number of scripts")
            seconds.append(time.perf_counter() - start)
    if count is _ours and found != (expected := sum(map(_scripts_of, range(scale.of(FOLDERS))))):
        raise WrongResult(f"{found} scripts were found, not {expected}")
    return Reading(statistics.median(seconds) * 1000, {"found": found})


def _plant(root: str, folders: int) -> None:
    """Make a tree: of 50 files in a folder 5 are Python's and 1 is executable; every other folder is a package."""
    _write(root, ".gitignore", "\n".join(f"{_IGNORED} {_ANCHORED} {_NAMED}".split()))
    for number in range(folders):
        folder = os.path.join(root, f"area{number % 20}", f"part{number // 20 % 10}", f"folder{number}")
        os.makedirs(folder)
        if number % 40 == 0:
            _write(folder, ".gitignore", "*.csv\n!keep.csv\n/private.py\n")
        if number % 2:
            _write(folder, "__init__.py", "")
        for place in range(4 if number % 2 else 5):
            _write(folder, f"module{place}.py" if place else "ignored_module.py", _MODULE + _GUARD * (place == 1))
        _write(folder, "tool", "#!/bin/sh\n")
        os.chmod(os.path.join(folder, "tool"), 0o755)
        for place in range(FILES - 6):
            _write(folder, f"table{place}.csv", "")


def _scripts_of(number: int) -> int:
    return 2 if number % 2 else 5


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w") as file:
        file.write(text)


ROWS = (
    Row(
        20,
        "look for the scripts among 100,000 files",
        "ms",
        "≤ 2,000 ms",
        [
            Entry(OURS, functools.partial(_milliseconds, _ours)),
            Entry("os.walk, judging nothing", functools.partial(_milliseconds, _walk)),
            Entry("git ls-files, untracked", functools.partial(_milliseconds, _git), program="git"),
        ],
    ),
)
