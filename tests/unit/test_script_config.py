"""What holds for one script: the defaults, the entries that fit it, its own table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.config import get_script_config, read_config, script_config
from orchestrator.exceptions import ConfigError
from tests.unit.conftest import Write


def test_a_script_has_the_defaults_then_each_entry_then_its_own_table(write: Write, project: Path) -> None:
    write(
        '[defaults]\ntimeout = 9\nretries = 1\nenv = {A = "d", B = "d"}\n'
        '[scripts."etl/*"]\ntimeout = 8\nmemory = "1K"\nenv = {B = "e", C = "e"}\nargs = ["x"]\n'
        '[scripts."load.py"]\ntimeout = 7\nenv = {C = "n"}\n'
        '[scripts."*.sh"]\nretries = 5\n'
    )
    script = write(
        '# /// script\n# [tool.orchestrator]\n# timeout = "6s"\n# env = {D = "i"}\n# ///\n"""Load it.\n\nMore."""\n',
        "etl/load.py",
    )
    expected = {
        "path": str(script),
        "description": "Load it.",
        "timeout": 6.0,
        "memory": 1024,
        "retries": 1,
        "depends_on": [],
        "args": ["x"],
        "env": {"A": "d", "B": "e", "C": "n", "D": "i"},
        "cwd": None,
    }
    assert script_config("etl/load.py", read_config()) == script_config(script, read_config()) == expected
    assert get_script_config("etl/load.py") == expected


@pytest.mark.parametrize("pattern", ["load", "load.py", "etl/load.py", "etl/*.py", "*", "l?ad.py", "[kl]oad.py"])
def test_a_pattern_fits_the_path_the_name_or_the_stem(write: Write, pattern: str) -> None:
    write(f'[scripts."{pattern}"]\nretries = 3')
    write("", "etl/load.py")
    assert script_config("etl/load.py", read_config())["retries"] == 3


@pytest.mark.parametrize("pattern", ["LOAD.py", "oad.py", "etl", "load.*.py", "tl/*"])
def test_another_pattern_does_not(write: Write, pattern: str) -> None:
    write(f'[scripts."{pattern}"]\nretries = 3')
    write("", "etl/load.py")
    assert script_config("etl/load.py", read_config())["retries"] == 0


def test_where_the_project_lies_makes_no_pattern_fit(write: Write, project: Path) -> None:
    write(f'[scripts."*{project.name}*"]\nretries = 3')
    assert script_config(write("", "load.py"), read_config())["retries"] == 0


def test_paths_of_scripts_count_from_the_folder_of_the_config(
    write: Write, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('[scripts."etl/load.py"]\nretries = 3')
    write("", "etl/load.py")
    monkeypatch.chdir(project / "etl")
    assert get_script_config("load.py")["retries"] == 3


def test_an_explicit_description_wins_over_the_docstring(write: Write) -> None:
    write('scripts.a.description = "ours"')
    write('"""theirs"""', "a.py")
    assert get_script_config("a.py")["description"] == "ours"


def test_a_dependency_that_is_a_file_beside_whoever_names_it_becomes_a_path(write: Write, project: Path) -> None:
    write('scripts.b.depends_on = ["etl/a.py", "other"]')
    write("", "etl/a.py")
    write('# /// script\n# [tool.orchestrator]\n# depends_on = ["a.py", "x.py"]\n# cwd = "d"\n# ///', "etl/c.py")
    write("", "b.py")
    assert get_script_config("b.py")["depends_on"] == [str(project / "etl/a.py"), "other"]
    assert get_script_config("etl/c.py")["depends_on"] == [str(project / "etl/a.py"), "x.py"]
    assert get_script_config("etl/c.py")["cwd"] == str(project / "etl/d")


def test_a_mistake_in_a_scripts_own_table_names_the_script(write: Write) -> None:
    write("# /// script\n# [tool.orchestrator]\n# timeot = 3\n# ///", "a.py")
    with pytest.raises(ConfigError, match=r"^a\.py: tool\.orchestrator\.timeot: unknown key; did you mean 'timeout'"):
        script_config("a.py", read_config())


def test_a_script_that_is_missing_or_a_fifo_has_what_the_config_says(write: Write, project: Path) -> None:
    config = read_config(write("defaults.retries = 4"))
    os.mkfifo("pipe.py")
    for name in ("gone.py", "pipe.py"):
        assert script_config(name, config)["retries"] == 4
        assert script_config(name, config)["path"] == str(project / name)


def test_what_a_caller_changes_changes_nothing_for_the_next(write: Write) -> None:
    config = read_config(write('[defaults.env]\nA = "1"\n[scripts."*"]\nargs = ["x"]\ndepends_on = ["y"]'))
    one = script_config("a.py", config)
    one["env"]["B"] = "2"
    one["args"].append("z")
    one["depends_on"].append("z")
    other = script_config("a.py", config)
    assert (other["env"], other["args"], other["depends_on"]) == ({"A": "1"}, ["x"], ["y"])


def test_a_script_is_found_by_its_name_or_its_stem(write: Write, project: Path) -> None:
    write("scripts.load.retries = 2")
    path = write("", "etl/load.py")
    for name in ("load.py", "load", "etl/load.py"):
        assert get_script_config(name)["path"] == str(path)
        assert get_script_config(name)["retries"] == 2


def test_a_name_of_two_scripts_is_refused_and_both_are_named(write: Write) -> None:
    write("", "a/load.py")
    write("", "b/load.py")
    with pytest.raises(ConfigError, match=r"is the name of 2 scripts, give a path: a/load\.py, b/load\.py"):
        get_script_config("load")


def test_a_name_that_only_the_config_knows_has_no_path(write: Write) -> None:
    write("scripts.remote.timeout = 5")
    config = get_script_config("remote")
    assert (config["path"], config["timeout"]) == (None, 5.0)


def test_an_unknown_script_is_told_with_the_closest_name(write: Write) -> None:
    write("", "etl/load.py")
    with pytest.raises(FileNotFoundError, match=r"there is no script 'laod\.py'; did you mean 'load\.py'"):
        get_script_config("laod.py")
    with pytest.raises(FileNotFoundError, match=r"there is no script 'zzz'; scripts here: load\.py"):
        get_script_config("zzz")
