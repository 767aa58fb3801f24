"""A project to write configs and scripts into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.config import load_config
from orchestrator.exceptions import ConfigError

Write = Callable[..., Path]


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_WORKERS", "SCRIPT_ROOT", "WORKFLOW_TIMEOUT"):
        monkeypatch.delenv(f"CODOMYRMEX_{name}", raising=False)
    monkeypatch.delenv("ORCHESTRATOR_DEPTH", raising=False)


@pytest.fixture
def project(no_variables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, which is the working directory."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(project: Path) -> Write:
    """What writes a file of the project; without a name its config."""

    def write_file(text: str | bytes, name: str = "orchestrator.toml") -> Path:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write_file


def mistake(path: str | Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)
