"""The folder of `--results`: for each script a folder with its output and its figures.

`003-name/` holds `stdout` and `stderr` as the bytes they were, `meta.json`, and for each failed
attempt before the last one `attempt-1/` with the same three. A script's folder appears complete, when the
script has finished. Folders are for their owner alone (0700), and so are files (0600).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from orchestrator.cli.document import describe
from orchestrator.cli.order import Order
from orchestrator.programs import Script
from orchestrator.results import ExecutionResult


class NotEmptyError(Exception):
    """Report a results folder that already holds something."""


class ResultsFolder:
    """Write results below a folder; a write that fails is remembered in `problem`, never raised."""

    def __init__(self, path: str, order: Order) -> None:
        """Make the folder, and try whether it can be written to.

        Raises NotEmptyError when there is something in it, OSError when it cannot be written to.
        """
        self.problem: OSError | None = None
        self._root = Path(path)
        self._order = order
        self._digits = max(3, len(str(len(order.tasks))))
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(self._root.iterdir()):
            raise NotEmptyError(f"the results folder {path!r} is not empty: name a new one, or empty it")
        with tempfile.TemporaryFile(dir=self._root, buffering=0) as probe:
            probe.write(bytes(4096))

    def write(self, index: int, result: ExecutionResult) -> None:
        """Write what a script ended with."""
        final = self._root / self._name(index)
        partial = self._root / f".{final.name}.partial"
        try:
            self._write_attempt(partial, index, result)
            for number, earlier in enumerate(result.history, start=1):
                self._write_attempt(partial / f"attempt-{number}", index, earlier)
            partial.rename(final)
        except OSError as error:
            self.problem = self.problem or error
            shutil.rmtree(partial, ignore_errors=True)

    def _write_attempt(self, folder: Path, index: int, result: ExecutionResult) -> None:
        folder.mkdir(mode=0o700)
        stdout, stderr = result.streams
        meta = describe(self._order, index, result)
        _write_private(folder / "stdout", stdout)
        _write_private(folder / "stderr", stderr)
        _write_private(folder / "meta.json", json.dumps(meta, indent=2).encode() + b"\n")

    def _name(self, index: int) -> str:
        task = self._order.tasks[index]
        name = task.name
        if isinstance(task.action, Script):
            name = name.removeprefix(os.path.dirname(task.action.path)).lstrip("/")
        plain = re.sub(r"[^A-Za-z0-9._=-]", "_", name)
        return f"{index + 1:0{self._digits}}-{plain[:100]}"


def _write_private(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
