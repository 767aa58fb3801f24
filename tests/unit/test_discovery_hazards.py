"""Discovery meets links, pipes, files that vanish and trees without end."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.discovery import find_scripts
from tests.unit.tree import found, git, write

GUARD = 'if __name__ == "__main__":\n    main()\n'
SHELL = "#!/bin/sh\n"


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
