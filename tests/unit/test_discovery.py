"""Which files of a tree are scripts: on real files, and against git for what is ignored."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import discovery
from orchestrator.discovery import discover_scripts, find_scripts

GUARD = 'if __name__ == "__main__":\n    main()\n'
SHELL = "#!/bin/sh\n"


def write(root: Path, *paths: str, text: str = "", mode: int = 0o644) -> None:
    """Write files with the same text, and the folders they lie in."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


def found(root: Path, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> list[str]:
    """Return the scripts that are found, as paths below the root."""
    return [os.path.relpath(path, root) for path in find_scripts(root, include, exclude)]


def git(root: Path, *arguments: str) -> bytes:
    """Run git, undisturbed by the user's own configuration, and return what it says."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "XDG_CONFIG_HOME": os.devnull}
    return subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, check=True).stdout


def git_keeps(root: Path) -> list[str]:
    """Return what git does not ignore of the `*.py` files, none of which is tracked."""
    listed = git(root, "ls-files", "-z", "--others", "--exclude-standard", "*.py")
    return sorted(map(os.fsdecode, filter(None, listed.split(b"\0"))))


# What looks like a script.


def test_a_python_file_is_a_script_without_being_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "b.py", "a.py", "sub/deep/c.py", "test_x.py", "notes.txt", "module.pyc")
    monkeypatch.setattr(discovery, "_read", lambda *_: pytest.fail("a file was opened"))
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


# What git ignores.


IGNORED_TREE = [
    *("a.py", "b.py", "keep.py", "x y.py", "end .py", "#a.py", "!a.py", "[a].py", "a\\b.py", "c1.py", "cx.py", "é.py"),
    *("sub/a.py", "sub/b.py", "sub/keep.py", "sub/deep/a.py", "sub/deep/keep.py", "out/a.py", "out/keep.py"),
    *("out/sub/keep.py", "lib/out/a.py", "lib/deep/out/a.py", "lib/a.py", "a/a.py", "a/b/a.py"),
]


@pytest.mark.parametrize(
    "lines",
    [
        "a.py",
        "/a.py",
        "a.py/",
        "out/",
        "out",
        "/out/\n!/out/keep.py",
        "out/*\n!out/keep.py",
        "out/**\n!out/keep.py",
        "*\n!*/\n!keep.py",
        "*\n!keep.py",
        "/*\n!/sub/\n/sub/*\n!/sub/deep",
        "*.py\n!sub/\n!sub/a.py",
        "**/out/",
        "lib/**/out",
        "sub/**/a.py",
        "**",
        "**/",
        "*/",
        "/*/",
        "/**",
        "**/*",
        "**/deep/**",
        "sub/**/",
        "a",
        "a/\n!a",
        "!a.py",
        "# a.py\n\n   \n\\#a.py",
        "\\!a.py",
        "!!a.py",
        "x y.py   ",
        "end\\ .py",
        "[a].py",
        "\\[a\\].py",
        "[[]a].py",
        "c[0-9].py",
        "c[!0-9].py",
        "c[^0-9].py",
        "c[[:digit:]].py\nsub/[[:alpha:]].py",
        "c[z-a].py",
        "c[.py",
        "a\\\\b.py",
        "a\\",
        "?1.py",
        "sub?a.py",
        "s*b/a.py",
        "sub[!x]a.py\nsub/deep[!x]a.py",
        "é.py",
        "a.py\r\nb.py\r",
        "out/\r\nlib/\r\n",
        "out/  \nlib/ ",
        "*\r\n!keep.py\r\n!*/ \n",
        "\ufeffa.py",
        "/",
        "!",
        "//",
        "sub//",
        "./a.py",
        "***",
        "sub/***",
    ],
)
def test_what_a_gitignore_says_is_what_git_makes_of_it(tmp_path: Path, lines: str) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, *IGNORED_TREE)
    (tmp_path / ".gitignore").write_bytes(lines.encode())
    assert found(tmp_path) == git_keeps(tmp_path)


def test_deeper_gitignores_win_and_those_above_the_root_count(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, *IGNORED_TREE, *(f"sub/deep/{name}.py" for name in "bcdef"))
    write(tmp_path, ".git/info/exclude", text="b.py\n/sub/deep/f.py\n")
    write(tmp_path, ".gitignore", text="a.py\n/sub/deep/c.py\n/out/\n")
    write(tmp_path, "sub/.gitignore", text="!a.py\n/deep/d.py\nkeep.py\n")
    write(tmp_path, "sub/deep/.gitignore", text="!b.py\n!/keep.py\n")
    write(tmp_path, "out/.gitignore", text="!keep.py\n")
    assert found(tmp_path) == git_keeps(tmp_path)
    for root in ("sub", "sub/deep"):
        assert found(tmp_path / root) == git_keeps(tmp_path / root)
    assert found(tmp_path / "sub/deep") == ["a.py", "b.py", "e.py", "keep.py"]


def test_without_a_repository_only_the_gitignores_from_the_root_on_count(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*\n")
    write(tmp_path, "root/.gitignore", text="a.py\n")
    write(tmp_path, "root/a.py", "root/b.py")
    assert found(tmp_path / "root") == ["b.py"]


def test_the_exclude_file_of_a_repository_counts_in_its_other_work_trees(tmp_path: Path) -> None:
    main, other = tmp_path / "main", tmp_path / "other"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")
    git(main, "worktree", "add", "-q", str(other))
    write(main, ".git/info/exclude", text="a.py\n")
    write(other, "a.py", "b.py")
    assert found(other) == git_keeps(other) == ["b.py"]


def test_a_gitignore_that_is_a_link_or_a_folder_does_not_count(tmp_path: Path) -> None:
    """As in git, since 2.32."""
    git(tmp_path, "init", "-q")
    write(tmp_path, "rules", text="*\n")
    write(tmp_path, "a.py", "sub/.gitignore/x", "sub/b.py")
    (tmp_path / ".gitignore").symlink_to("rules")
    assert found(tmp_path) == git_keeps(tmp_path) == ["a.py", "sub/b.py"]


def test_to_gitignore_a_link_is_no_folder(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, ".gitignore", text="as_folder/\nas_file\n")
    write(tmp_path, ".real/a.py", ".real2/b.py")
    (tmp_path / "as_folder").symlink_to(".real")
    (tmp_path / "as_file").symlink_to(".real2")
    assert found(tmp_path) == ["as_folder/a.py"]
    assert git(tmp_path, "ls-files", "--others", "--exclude-standard", "as*") == b"as_folder\n"


_segments = st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*b", "[ab]", "[!a]"])
_lines = st.builds(
    lambda sign, start, segments, end: sign + start + "/".join(segments) + end,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(_segments, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", ".py"]),
)
_folders = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).map(lambda parts: "".join(f"{p}/" for p in parts))


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.tuples(_folders, st.sampled_from(["a.py", "b.py", "ab.py"])), min_size=1, max_size=12),
    st.dictionaries(_folders, st.lists(_lines, max_size=5), max_size=3),
)
def test_any_gitignores_leave_out_what_git_ignores(
    files: set[tuple[str, str]], gitignores: dict[str, list[str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        git(root, "init", "-q")
        write(root, *(place + name for place, name in files))
        for place, lines in gitignores.items():
            write(root, f"{place}.gitignore", text="\n".join(lines))
        assert found(root) == git_keeps(root)


# Links, and what is no file.


def test_a_link_to_a_file_counts_as_a_file_wherever_it_leads(tmp_path: Path) -> None:
    write(tmp_path, "outside.py", "root/inside.py")
    write(tmp_path, "outside.sh", text=SHELL, mode=0o755)
    for name, target in {"a.py": "../outside.py", "b.py": "inside.py", "c": "../outside.sh", "d.py": "gone"}.items():
        (tmp_path / "root" / name).symlink_to(target)
    assert found(tmp_path / "root") == ["a.py", "b.py", "c", "inside.py"]


def test_a_folder_is_reached_once_and_through_a_link_only_if_there_is_no_other_way(tmp_path: Path) -> None:
    write(tmp_path, "z/a.py", ".hidden/b.py")
    for link, target in {"a": "z", "b": ".hidden", "c": ".hidden", "z/up": "..", "loop": "loop", "self": "."}.items():
        (tmp_path / link).symlink_to(target)
    assert found(tmp_path) == ["b/b.py", "z/a.py"]


def test_a_link_to_a_folder_outside_of_the_root_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "rooted/a.py", "root/b.py")
    (tmp_path / "root/link").symlink_to("../rooted")
    (tmp_path / "root/up").symlink_to("..")
    assert found(tmp_path / "root", ["link", "up"]) == ["b.py"]


def test_a_root_that_is_a_link_is_followed(tmp_path: Path) -> None:
    write(tmp_path, "real/sub/a.py", "real/.b/b.py")
    (tmp_path / "real/c").symlink_to(".b")
    (tmp_path / "link").symlink_to("real")
    assert found(tmp_path / "link") == ["c/b.py", "sub/a.py"]


def test_pipes_and_sockets_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "package/__init__.py")
    for pipe in (".gitignore", ".git/info/exclude", "package/.gitignore", "package/pipe.py", "package/pipe"):
        (tmp_path / pipe).unlink(missing_ok=True)
        os.mkfifo(tmp_path / pipe)
        (tmp_path / pipe).chmod(0o777)
    (tmp_path / "package/link.py").symlink_to("pipe.py")
    (tmp_path / "package/null.py").symlink_to("/dev/null")
    (tmp_path / "package/null").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)  # the address of a socket must be short
    monkeypatch.setattr(os, "open", lambda path, *_: pytest.fail(f"{path} was opened"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("package/socket.py")
        assert found(tmp_path / "package") == []
        assert found(tmp_path / "package", ["pipe*", "socket*", "link*", "null*"]) == []


def test_a_file_that_becomes_a_pipe_meanwhile_does_not_make_us_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "__init__.py", "module.py")
    really_open = os.open

    def late(path: str, flags: int) -> int:
        os.unlink(path)
        os.mkfifo(path)
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", late)
    assert found(tmp_path) == []


# What goes wrong.


def refusing(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return the function as it would be for one who may not read what has this name."""

    def called(path: str, *arguments: int) -> Any:
        if os.path.basename(path.rstrip("/")) == name:
            raise PermissionError(13, "Permission denied", path)
        return function(path, *arguments)

    return called


def test_what_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is put on."""
    write(tmp_path, "a.py", "secret/b.py", "package/__init__.py", "package/seen.py", "package/secret.py", text=GUARD)
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, "secret"))
    monkeypatch.setattr(os, "open", refusing(os.open, "secret.py"))
    assert found(tmp_path) == ["a.py", "package/seen.py"]


def test_a_root_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").mkdir()
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, "secret"))
    with pytest.raises(PermissionError, match="secret"):
        find_scripts(tmp_path / "secret")


def test_what_vanishes_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "sub/a.py", "stays.py", "package/__init__.py", "package/m.py", text=GUARD)
    write(tmp_path, "tool", text=SHELL, mode=0o755)
    scandir = os.scandir

    class Late:
        """A listing, out of date by the time it is seen."""

        def __init__(self, path: str) -> None:
            self._listing = scandir(path)

        def __enter__(self) -> list[os.DirEntry[str]]:
            with self._listing as listing:
                entries = list(listing)
            for name in ("tool", "sub/a.py", "package/m.py"):
                (tmp_path / name).unlink(missing_ok=True)
            if (tmp_path / "sub").exists():
                (tmp_path / "sub").rmdir()
            return entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Late)
    assert found(tmp_path) == ["stays.py"]


def test_names_that_are_not_utf_8_are_found_and_can_be_opened(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    for name in (b"a\xff.py", b"b\xff.py", b".gitignore"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"b\xff.py\n")
    (script,) = find_scripts(tmp_path)
    assert os.fsencode(script) == folder + b"/a\xff.py"
    assert os.path.exists(script)
    assert found(tmp_path, [], [os.fsdecode(b"a\xff.py")]) == []


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder for trees that are too deep for what pytest cleans up with."""
    (tmp_path / "deep").mkdir()
    yield tmp_path / "deep"
    subprocess.run(["rm", "-r", tmp_path / "deep"], check=True)


def dig(root: Path, name: str, levels: int, files: Iterable[str]) -> None:
    """Make a folder in a folder in a folder, each with these files, without ever naming the whole path."""
    place = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=place)
        below = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
        for file in files:
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)


def test_a_tree_of_a_thousand_levels_is_walked_to_its_end(deep: Path) -> None:
    dig(deep, "d", 1000, ["a.py", "__init__.py", ".gitignore"])
    (deep / ("d/" * 1000) / "__init__.py").unlink()
    assert found(deep) == ["d/" * 1000 + "a.py"]


def test_a_path_that_is_too_long_is_passed_over(deep: Path) -> None:
    """Longer than PATH_MAX it cannot be opened, nor run."""
    long = "b" * 200 + ".py"
    dig(deep, "d" * 250, 18, ["a.py", long, ".gitignore"])
    scripts = find_scripts(deep)
    assert all(map(os.path.exists, scripts))
    lengths = [len(f"{deep}/") + 251 * levels + len(name) for levels in range(1, 19) for name in ("a.py", long)]
    assert sorted(map(len, scripts)) == sorted(
        length for length in lengths if length < os.pathconf(deep, "PC_PATH_MAX")
    )


def test_a_root_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder .*: '.*/gone'") as caught:
        find_scripts(tmp_path / "gone")
    assert caught.value.filename == str(tmp_path / "gone")


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.py")
    with pytest.raises(NotADirectoryError, match=r"in a folder, and this is none: '.*/a.py'"):
        find_scripts(tmp_path / "a.py")


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
