"""Fixtures of the tests that use the program from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.surface.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.fixture
def gate(shell: Shell) -> Shell:
    """A shell in a folder with the FIFO for which scripts made of `WAITS` wait."""
    os.mkfifo(shell.folder / "go")
    return shell
