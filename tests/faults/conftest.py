"""Fixtures of the tests of faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.street import Street


@pytest.fixture
def street(tmp_path: Path) -> Street:
    """A street in a folder of its own."""
    return Street(tmp_path)
