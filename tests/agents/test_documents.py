"""What the page shows runs, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import orchestrator
from orchestrator import run_script
from orchestrator.config import load_config

_ROOT = Path(orchestrator.__file__).parents[1]
_PAGE = (_ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)
_PRINTED = [
    "True 5\n\nthere is no agent 'shuot'; did you mean 'shout'? Registered are: shout, words\n",
    "",
    "DRAFT ABOUT FOXES: 17 LETTERS\n",
    "HELLO\n",
]


@pytest.mark.parametrize("number", range(len(_BLOCKS)))
def test_every_block_of_the_page_runs(number: int, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(_BLOCKS[number], encoding="utf-8")
    result = run_script(script, cwd=tmp_path, env={"PYTHONPATH": str(_ROOT)}, timeout=60)
    assert result.success, result.error
    assert result.output == _PRINTED[number]


def test_the_config_of_the_page_is_one(tmp_path: Path) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", _PAGE, re.DOTALL)
    (tmp_path / "a.toml").write_text(toml, encoding="utf-8")
    assert list(load_config(tmp_path / "a.toml")["agents"]) == ["writer", "reviewer"]
