"""The config: what is found, what is read from it, what wins, and how each mistake is told."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import load_config, read_config
from orchestrator.exceptions import ConfigError
from tests.unit.conftest import Write, mistake

pytestmark = pytest.mark.usefixtures("no_variables")

NOTHING: dict[str, Any] = {
    "defaults": {"jobs": None, "timeout": None, "memory": None, "retries": 0, "env": {}},
    "scripts": {},
    "workflows": {},
    "agents": {},
    "discovery": {"root": None, "include": [], "exclude": []},
}


# Finding


def test_without_a_file_the_defaults_hold(project: Path) -> None:
    config = read_config()
    assert config.values == NOTHING
    assert (config.path, config.folder) == (None, None)
    assert set(config.origins.values()) == {"default"}


def test_the_nearest_file_upward_is_taken(write: Write, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("defaults.jobs = 1")
    nearer = write("defaults: {jobs: 2}", "a/orchestrator.yaml")
    (project / "a/b/c").mkdir(parents=True)
    monkeypatch.chdir(project / "a/b/c")
    config = read_config()
    assert (config.path, config.folder) == (str(nearer), str(project / "a"))
    assert config.values["defaults"]["jobs"] == 2
    assert config.origins["defaults.jobs"] == "../../orchestrator.yaml"


def test_the_search_ends_at_the_repository(write: Write, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("defaults.jobs = 1")
    (project / "inner/sub").mkdir(parents=True)
    (project / "inner/.git").write_text("gitdir: elsewhere")  # as in a worktree
    monkeypatch.chdir(project / "inner/sub")
    assert read_config().path is None


def test_outside_of_a_repository_the_search_ends_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orchestrator.toml").write_text("defaults.jobs = 1")
    (tmp_path / "home/work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home/work")
    assert read_config().path is None
    (tmp_path / "home/orchestrator.toml").write_text("defaults.jobs = 2")
    assert load_config()["defaults"]["jobs"] == 2


def test_a_repository_around_the_home_directory_is_searched_to_its_root(
    write: Write, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("defaults.jobs = 1")
    (project / "home/work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(project / "home"))
    monkeypatch.chdir(project / "home/work")
    assert load_config()["defaults"]["jobs"] == 1


def test_two_files_in_one_folder_are_refused_and_both_named(write: Write) -> None:
    write("", "orchestrator.toml")
    write("", "orchestrator.json")
    assert "orchestrator.toml and orchestrator.json" in mistake()


def test_a_pyproject_counts_only_with_the_table(write: Write, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("[tool.orchestrator.defaults]\njobs = 3", "pyproject.toml")
    write("[tool.other]\nname = 'orchestrator'", "a/pyproject.toml")
    write("tool = 'orchestrator'", "a/b/pyproject.toml")
    write("this is [no TOML", "a/b/c/pyproject.toml")
    write(b"\xff\xfe", "a/b/c/d/pyproject.toml")
    monkeypatch.chdir(project / "a/b/c/d")
    config = read_config()
    assert config.path == str(project / "pyproject.toml")
    assert config.values["defaults"]["jobs"] == 3
    write("[tool.orchestrator\n", "a/b/c/pyproject.toml")
    assert mistake().startswith("../pyproject.toml, line 1")


def test_our_own_file_wins_over_a_pyproject_next_to_it(write: Write) -> None:
    write("[tool.orchestrator.defaults]\njobs = 3", "pyproject.toml")
    write("defaults: {jobs: 4}", "orchestrator.yml")
    assert load_config()["defaults"]["jobs"] == 4


def test_a_named_file_is_read_whatever_lies_nearer(write: Write) -> None:
    write("defaults.jobs = 1")
    named = write("defaults.jobs = 2", "conf/other.toml")
    assert load_config(named)["defaults"]["jobs"] == 2
    assert load_config("conf/other.toml")["defaults"]["jobs"] == 2
    assert read_config("conf/other.toml").origins["defaults.jobs"] == "conf/other.toml"


def test_a_working_directory_that_was_removed_has_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert read_config().values == NOTHING


# Reading

TOML = """
[defaults]
jobs = "50%"
timeout = "1h30m"
memory = "2G"
retries = 2
env = {LANG = "C"}
[scripts."etl/*.py"]
timeout = 90
memory = 1024
args = ["--fast", ""]
depends_on = ["fetch.py"]
description = "Load"
cwd = "data"
[workflows.nightly]
jobs = 2
timeout = "5m"
description = "All of it"
[workflows.nightly.steps.fetch]
script = "etl/fetch.py"
[workflows.nightly.steps."load it"]
run = ["make", "load"]
depends_on = ["fetch"]
cwd = "/data"
[workflows.flow]
python = "flows.py:nightly"
[agents."the writer"]
command = ["./write", "--prompt", "{task}"]
description = "Writes"
timeout = "5m"
memory = "1G"
retries = 1
concurrency = 2
env = {STYLE = "plain"}
cwd = "texts"
[agents.reader]
python = "lib/readers.py:read"
[discovery]
root = "scripts"
include = ["*.sh"]
"""


def test_values_are_seconds_bytes_and_absolute_paths(write: Write, project: Path) -> None:
    write(TOML)
    assert load_config() == {
        "defaults": {"jobs": "50%", "timeout": 5400.0, "memory": 2 << 30, "retries": 2, "env": {"LANG": "C"}},
        "scripts": {
            "etl/*.py": {
                "timeout": 90.0,
                "memory": 1024,
                "args": ["--fast", ""],
                "depends_on": ["fetch.py"],
                "description": "Load",
                "cwd": str(project / "data"),
            }
        },
        "workflows": {
            "nightly": {
                "jobs": 2,
                "timeout": 300.0,
                "description": "All of it",
                "steps": {
                    "fetch": {"script": str(project / "etl/fetch.py")},
                    "load it": {"run": ["make", "load"], "depends_on": ["fetch"], "cwd": "/data"},
                },
            },
            "flow": {"python": f"{project}/flows.py:nightly"},
        },
        "agents": {
            "the writer": {
                "command": ["./write", "--prompt", "{task}"],
                "description": "Writes",
                "timeout": 300.0,
                "memory": 1 << 30,
                "retries": 1,
                "concurrency": 2,
                "env": {"STYLE": "plain"},
                "cwd": str(project / "texts"),
            },
            "reader": {"python": f"{project}/lib/readers.py:read"},
        },
        "discovery": {"root": str(project / "scripts"), "include": ["*.sh"], "exclude": []},
    }
    assert type(load_config()["scripts"]["etl/*.py"]["timeout"]) is float


def test_paths_are_relative_to_the_file_and_not_to_the_working_directory(write: Write, project: Path) -> None:
    path = write("discovery.root = '../x'", "conf/orchestrator.toml")
    assert load_config(path)["discovery"]["root"] == str(project / "x")


def test_what_was_read_reads_the_same_again_in_every_format(write: Write) -> None:
    import yaml

    values = load_config(write(TOML))
    assert load_config(write(json.dumps(values), "again.json")) == values
    assert load_config(write(yaml.safe_dump(values), "again.yaml")) == values


@pytest.mark.parametrize("name", ["a.toml", "a.yaml", "a.yml", "a.json", "pyproject.toml"])
@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b" \n\n"])
def test_an_empty_file_means_the_defaults(write: Write, name: str, data: bytes) -> None:
    assert load_config(write(data, name)) == NOTHING


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "\ufeffdefaults.jobs = 5\r\n"),
        ("a.json", '\ufeff{"defaults": {"jobs": 5}}'),
        ("a.yaml", "\ufeffdefaults:\r\n  jobs: 5\r\n"),
    ],
)
def test_a_byte_order_mark_and_foreign_line_ends_are_accepted(write: Write, name: str, text: str) -> None:
    assert load_config(write(text, name))["defaults"]["jobs"] == 5


def test_yaml_tables_with_nothing_below_are_empty_and_null_lifts_a_limit(write: Write) -> None:
    write("defaults:\nscripts:\n  a.py:\n  b.py: {timeout: null, memory: ~}\ndiscovery:\n  # nothing\n", "a.yaml")
    values = load_config("a.yaml")
    assert values["scripts"] == {"a.py": {}, "b.py": {"timeout": None, "memory": None}}
    assert values["defaults"] == NOTHING["defaults"]


def test_yaml_dates_and_numbers_with_colons_stay_text(write: Write) -> None:
    write("scripts:\n  a.py: {env: {DAY: 2026-02-30, TIME: 1:30, PORT: '80'}}", "a.yaml")
    env = load_config("a.yaml")["scripts"]["a.py"]["env"]
    assert env == {"DAY": "2026-02-30", "TIME": "1:30", "PORT": "80"}


@pytest.mark.parametrize("jobs", [1, 400, "auto", "1%", "150%"])
def test_jobs_are_a_number_a_share_or_auto(write: Write, jobs: int | str) -> None:
    assert load_config(write(json.dumps({"defaults": {"jobs": jobs}}), "a.json"))["defaults"]["jobs"] == jobs


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_every_number_of_seconds_above_zero_survives(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps({"defaults": {"timeout": seconds}}))
        assert load_config(path)["defaults"]["timeout"] == seconds


# The environment


def test_variables_win_over_the_file(write: Write, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(TOML)
    monkeypatch.setenv("CODOMYRMEX_MAX_WORKERS", "7")
    monkeypatch.setenv("CODOMYRMEX_SCRIPT_ROOT", "elsewhere")
    monkeypatch.setenv("CODOMYRMEX_WORKFLOW_TIMEOUT", "2h")
    config = read_config()
    assert config.values["defaults"]["jobs"] == 7
    assert config.values["discovery"]["root"] == str(project / "elsewhere")
    assert [flow["timeout"] for flow in config.values["workflows"].values()] == [7200.0, 7200.0]
    origins = config.origins
    assert origins["defaults.jobs"] == "CODOMYRMEX_MAX_WORKERS"
    assert origins["discovery.root"] == "CODOMYRMEX_SCRIPT_ROOT"
    assert origins["workflows.flow.timeout"] == "CODOMYRMEX_WORKFLOW_TIMEOUT"
    assert origins["defaults.timeout"] == origins['scripts."etl/*.py".args'] == "orchestrator.toml"
    assert origins["defaults.env.LANG"] == "orchestrator.toml"
    assert origins["discovery.exclude"] == "default"


def test_a_script_root_in_the_environment_is_relative_to_the_working_directory(
    write: Write, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("", "conf/orchestrator.toml")
    monkeypatch.setenv("CODOMYRMEX_SCRIPT_ROOT", "x")
    assert load_config(path)["discovery"]["root"] == str(project / "x")


@pytest.mark.parametrize("name", ["MAX_WORKERS", "WORKFLOW_TIMEOUT"])
def test_a_variable_that_makes_no_sense_is_named(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"CODOMYRMEX_{name}", "many")
    assert f"CODOMYRMEX_{name}" in mistake()


def test_empty_variables_count_as_not_set(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_WORKERS", "SCRIPT_ROOT", "WORKFLOW_TIMEOUT"):
        monkeypatch.setenv(f"CODOMYRMEX_{name}", " ")
    assert load_config() == NOTHING


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_above_is_refused_outside_of_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Z1: it could name commands to run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config, below = tmp_path / "orchestrator.toml", tmp_path / "mine"
    config.write_text("[defaults]\nretries = 3\n")
    os.chown(config, 12345, 12345)
    below.mkdir()
    monkeypatch.chdir(below)
    with pytest.raises(ConfigError, match="belongs to another user"):
        load_config()
    assert load_config(config)["defaults"]["retries"] == 3
    (below / "orchestrator.toml").write_text("")
    assert load_config()["defaults"]["retries"] == 0
