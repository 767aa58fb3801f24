"""What the documents show runs, and shows what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import orchestrator
from orchestrator import run_script

_ROOT = Path(orchestrator.__file__).parents[1]
_EXAMPLE = _ROOT / "scripts" / "examples" / "sales_report.py"
_BLOCKS = re.findall(r"```python\n(.*?)```", (_ROOT / "docs" / "workflow.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_retries_skips_and_reports() -> None:
    result = run_script(_EXAMPLE, ["--rows", "2000"])
    assert result.success, result.error
    assert re.search(
        r"retrying  part 2 BlockingIOError: part-2.csv is locked\n.* running  part 2\n", result.output, re.DOTALL
    )
    assert "skipped  audit skipped because its condition does not hold" in result.output
    assert "9 tasks: 8 completed, 1 skipped" in result.output
    assert re.search(r"^south +[\d,]+\.\d\d$", result.output, re.MULTILINE)


def test_the_readme_has_the_examples_chart() -> None:
    chart = run_script(_EXAMPLE, ["--mermaid"]).output
    assert f"```mermaid\n{chart}```" in (_ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", range(len(_BLOCKS)))
def test_every_block_of_the_workflow_page_runs(number: int, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(_BLOCKS[number], encoding="utf-8")
    result = run_script(script, cwd=_ROOT, env={"PYTHONPATH": str(_ROOT)}, timeout=60)
    assert result.success, result.error
