"""Which files of a tree are scripts, and how they are named: on real files."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from orchestrator import discovery
from orchestrator.discovery import discover_scripts, find_scripts
from tests.unit.tree import found, write

GUARD = 'if __name__ == "__main__":\n    main()\n'
SHELL = "#!/bin/sh\n"


# What looks like a script.


def test_a_python_file_is_a_script_without_being_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "b.py", "a.py", "sub/deep/c.py", "test_x.py", "notes.txt", "module.pyc")
    monkeypatch.setattr(discovery, "read_if_there", lambda *_: pytest.fail("a file was opened"))
    assert found(tmp_path) == ["a.py", "b.py", "sub/deep/c.py", "test_x.py"]


def test_files_that_are_no_scripts_by_their_names_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "conftest.py", "setup.py", "sub/__init__.py", text=f"#!/usr/bin/python3\n{GUARD}", mode=0o755)
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (GUARD, True),
        ("if __name__ == '__main__':\n    main()\n", True),
        ("if '__main__' == __name__ :\n    main()\n", True),
        ('x = 1\r\nif(__name__=="__main__"):\r\n    main()\r\n', True),
        ('if x:\n    pass\nelif __name__ == "__main__" and x:\n    main()', True),
        (f"# it's fine\nx = 'a\\'b' + \"'''\"\n{GUARD}", True),
        (f'"""A "quoted" module \\"""."""\n{GUARD}', True),
        (f"print 'of another Python'\n{GUARD}", True),
        ("#!/usr/bin/env python3\n", True),
        ("# /// script\n# dependencies = []\n# ///\n", True),
        ("import x\r\n# /// script\r\n# dependencies = []\r\n# ///\r\n", True),
        ("", False),
        ("import x\n", False),
        (f'"""To run it:\n\n{GUARD}"""\n', False),
        (f"text = '''\n{GUARD}'''\n", False),
        (f'text = "\\\n{GUARD[:20]}"\n', False),
        (f"# {GUARD.splitlines()[0]}\n", False),
        ('def f():\n    if __name__ == "__main__":\n        pass\n', False),
        ('if __name__ != "__main__":\n    pass\n', False),
        ('if module.name == "__main__":\n    pass\n', False),
        ("if __name__ == '__main__\":\n    pass\n", False),
        ("# /// script\n", False),
        ("# /// other\n# x\n# ///\n", False),
        (" #!/usr/bin/python\n", False),
    ],
)
def test_a_module_of_a_package_counts_only_if_it_can_be_run_by_itself(tmp_path: Path, text: str, runs: bool) -> None:
    write(tmp_path, "package/__init__.py")
    (tmp_path / "package/module.py").write_bytes(text.encode())
    assert found(tmp_path) == (["package/module.py"] if runs else [])


def test_a_main_module_of_a_package_counts_only_with_a_shebang(tmp_path: Path) -> None:
    write(tmp_path, "one/__init__.py", "two/__init__.py")
    write(tmp_path, "one/__main__.py", text=GUARD)
    write(tmp_path, "two/__main__.py", text=f"#!/usr/bin/python3\n{GUARD}")
    write(tmp_path, "no package/__main__.py")
    assert found(tmp_path) == ["no package/__main__.py", "two/__main__.py"]


def test_another_file_is_a_script_if_it_is_executable_and_names_its_interpreter(tmp_path: Path) -> None:
    write(tmp_path, "run", "run.sh", "package/tool", text=SHELL, mode=0o755)
    write(tmp_path, "package/__init__.py")
    write(tmp_path, "plain.sh", text=SHELL)
    write(tmp_path, "binary", text="\x7fELF", mode=0o755)
    write(tmp_path, "empty", "#", text="#", mode=0o755)
    assert found(tmp_path) == ["package/tool", "run", "run.sh"]


def test_nothing_is_said_about_strange_files(tmp_path: Path) -> None:
    """An invalid escape, bytes that are no text, deep nesting: Python's parser would warn, refuse or give up."""
    write(tmp_path, "package/__init__.py")
    for name, data in {"a": b'"\\d"\n', "b": b"\xff\0\n", "c": b"(" * 100_000 + b"\n"}.items():
        (tmp_path / f"package/{name}.py").write_bytes(data + GUARD.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(tmp_path) == ["package/a.py", "package/b.py", "package/c.py"]


# What is left out.


def test_hidden_files_virtual_environments_caches_and_what_was_built_are_left_out(tmp_path: Path) -> None:
    folders = ["__pycache__", "site-packages", "build", "dist", "node_modules", "x.egg-info", ".hidden", "a/build/b"]
    write(tmp_path, *(f"{folder}/a.py" for folder in folders))
    write(tmp_path, "environment/pyvenv.cfg", "environment/bin/a.py", "environment/lib/python/b.py", ".hidden.py")
    write(tmp_path, "builder/a.py", "distance/a.py")
    assert found(tmp_path) == ["builder/a.py", "distance/a.py"]


def test_a_folder_that_would_be_left_out_can_be_the_root(tmp_path: Path) -> None:
    write(tmp_path, ".build/pyvenv.cfg", ".build/a.py")
    assert found(tmp_path / ".build") == ["a.py"]


def test_include_adds_files_and_brings_back_what_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "setup.py", ".hidden.py", "package/__init__.py", "package/m.py", ".gitignore", "b.sql")
    write(tmp_path, ".gitignore", text="ignored.py\n")
    write(tmp_path, "ignored.py", "sub/ignored.py")
    include = ["*.txt", "/setup.py", ".hidden.py", "m.py", "ignored.py", "!/ignored.py"]
    assert found(tmp_path, include) == [".hidden.py", "a.txt", "package/m.py", "setup.py", "sub/ignored.py"]


def test_a_folder_that_include_matches_is_judged_like_any_other(tmp_path: Path) -> None:
    write(tmp_path, "build/a.py", "build/notes.txt", "build/sub/b.py", "build/dist/c.py", "env/pyvenv.cfg", "env/d.py")
    assert found(tmp_path, ["build/", "env/"]) == ["build/a.py", "build/sub/b.py", "env/d.py"]


def test_a_folder_left_out_is_entered_for_what_include_names_from_the_root_on(tmp_path: Path) -> None:
    write(tmp_path, ".ci/jobs/a.sh", ".ci/jobs/b.py", ".ci/c.sh", ".git/jobs/a.sh", "env/pyvenv.cfg", "env/e.sh")
    write(tmp_path, "env/f.py", "x/.ci/jobs/a.sh")
    assert found(tmp_path, [".ci/jobs/*.sh", "/env/e.sh"]) == [".ci/jobs/a.sh", "env/e.sh"]
    assert found(tmp_path, ["*.sh"]) == []
    assert found(tmp_path, [".ci/x", "jobs/"]) == [".ci/jobs/b.py"]


def test_exclude_leaves_out_more_and_wins_over_include(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "b.py", "sub/a.py", "sub/b.py", "old/c.py", "sub/old/c.py", "d.txt")
    assert found(tmp_path, ["*.txt", "old/", "old/c.py"], ["/a.py", "old/", "*.txt"]) == [
        "b.py",
        "sub/a.py",
        "sub/b.py",
    ]
    assert found(tmp_path, [], ["*.py", "!sub/*.py"]) == ["sub/a.py", "sub/b.py"]


# How they are named, and where the root comes from.


def test_paths_are_the_root_as_it_was_given_and_the_path_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "tree/b/a.py", "tree/b.py", "tree/B.py")
    monkeypatch.chdir(tmp_path)
    assert find_scripts("tree") == find_scripts("tree/") == ["tree/B.py", "tree/b.py", "tree/b/a.py"]
    assert find_scripts("./tree/b") == ["./tree/b/a.py"]
    assert find_scripts(tmp_path / "tree/b") == [f"{tmp_path}/tree/b/a.py"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of its own as working directory, so that no configuration is found above it."""
    write(tmp_path, ".git/HEAD", "a.py", "tools/b.py", "tools/c.sh")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CODOMYRMEX_SCRIPT_ROOT", raising=False)
    return tmp_path


def test_without_any_root_it_is_the_working_directory_and_goes_unnamed(project: Path) -> None:
    assert discover_scripts() == ["a.py", "tools/b.py"]


def test_the_configuration_says_where_and_what(project: Path) -> None:
    write(project, "orchestrator.toml", text='[discovery]\nroot = "tools"\ninclude = ["*.sh"]\nexclude = ["b.py"]\n')
    assert discover_scripts() == [f"{project}/tools/c.sh"]
    assert discover_scripts("tools") == ["tools/c.sh"]
    assert discover_scripts(project) == [f"{project}/a.py", f"{project}/tools/c.sh"]


def test_the_environment_wins_over_the_configuration(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "orchestrator.toml", text='[discovery]\nroot = "gone"\n')
    monkeypatch.setenv("CODOMYRMEX_SCRIPT_ROOT", "tools")
    assert discover_scripts() == [f"{project}/tools/b.py"]
