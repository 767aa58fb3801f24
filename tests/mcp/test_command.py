"""The command `orchestrator mcp`, and what works without the SDK."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_WITHOUT = """
import sys
for name in ("mcp", "mcp_types", "pydantic", "anyio"):
    sys.modules[name] = None
"""
"""As on a machine on which the extra was not installed."""


def _run(*words: str, stdin: int = subprocess.DEVNULL, cwd: Path = _ROOT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(_ROOT), "COLUMNS": "100"}
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=env, timeout=60, stdin=stdin, check=False)


def test_the_plain_functions_work_without_the_sdk() -> None:
    work = """
from codomyrmex.orchestrator.mcp_tools import analyze_workflow_dependencies, get_scheduler_metrics
print(get_scheduler_metrics().active_jobs, analyze_workflow_dependencies([{"id": "a"}])["execution_order"])
"""
    done = _run(sys.executable, "-c", _WITHOUT + work)
    assert (done.stdout, done.stderr) == ("0 ['a']\n", "")


def test_importing_the_plain_functions_does_not_import_the_sdk() -> None:
    work = "import sys, orchestrator.mcp_tools; print({'mcp', 'pydantic', 'anyio'} & sys.modules.keys())"
    assert _run(sys.executable, "-c", work).stdout == "set()\n"


def test_without_the_sdk_the_command_says_in_a_line_what_to_install() -> None:
    work = "import sys; sys.argv = ['orchestrator', 'mcp']; from orchestrator.cli import main; main()"
    done = _run(sys.executable, "-c", _WITHOUT + work)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'codomyrmex-orchestrator[mcp]'" in done.stderr


def test_help_names_the_limits_and_the_tools_and_needs_no_sdk() -> None:
    work = "import sys; sys.argv = ['orchestrator', 'mcp', '--help']; from orchestrator.cli import main; main()"
    done = _run(sys.executable, "-c", _WITHOUT + work)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("--root", "--jobs", "--timeout", "--memory", "--max-runs", "start_batch", "143"):
        assert word in done.stdout
    assert "  mcp " in _run(sys.executable, "-m", "orchestrator", "--help").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--root", "nowhere"], "nowhere"),
        (["--jobs", "0"], "0"),
        (["--timeout", "soon"], "soon"),
        (["--max-runs", "0"], "0"),
        (["more"], "more"),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_served(words: list[str], says: str) -> None:
    done = _run(sys.executable, "-m", "orchestrator", "mcp", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_without_a_client_the_server_ends_at_once(tmp_path: Path) -> None:
    done = _run(sys.executable, "-m", "orchestrator", "mcp", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_requests_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "requests").write_text('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
    with open(tmp_path / "requests") as requests:
        done = _run(sys.executable, "-m", "orchestrator", "mcp", cwd=tmp_path, stdin=requests.fileno())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_standard_stream_is_a_client_that_is_not_there(tmp_path: Path, closed: str) -> None:
    done = _run("/bin/sh", "-c", f'"$0" -m orchestrator mcp {closed}', sys.executable, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
