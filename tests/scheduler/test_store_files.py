"""A store's files: made whole, kept to oneself; refused when they are another's or damaged, and left as they are."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import stat
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.exceptions import StoreError
from orchestrator.store import Forget, Insert, Store, Update, files, loss, schema, store
from tests.faults.driver import driving
from tests.scheduler.test_store import PREAMBLE, ids, jobs, looking, opened, sql

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is, in a folder of its own."""
    (tmp_path / "folder").mkdir(mode=0o700)
    return tmp_path / "folder" / "jobs"


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Set the umask for the length of a test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder but FILE-shm, which SQLite makes anew whenever it likes."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


def refused(path: Path, words: str) -> None:
    """Assert that a store is refused, twice, with these words; and that nothing of it is changed, and nothing added."""
    before = contents(path.parent)
    for _ in range(2):
        with pytest.raises(StoreError, match=words) as caught:
            Store(path)
        assert str(path) in str(caught.value)
    assert contents(path.parent) == before


# --- a new one


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_the_files_are_the_owners_alone_whatever_the_umask(path: Path, umask: Callable[[int], int], mask: int) -> None:
    umask(mask)
    with opened(path) as it:
        it.write(jobs("a"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("jobs", "jobs-wal", "jobs-shm"), 0o600)
    assert [file.name for file in path.parent.iterdir()] == ["jobs"]


def test_a_new_store_is_whole_before_it_is_in_its_place(path: Path) -> None:
    script = """
    from orchestrator.store import files
    def link(new, to):
        say("built", new)
        signal.pause()
    files.os.link = link
    Store(path)
    """
    with driving(path.parent, script, preamble=PREAMBLE) as driver:
        built = driver.says("built")
        assert not path.exists()
        driver.signal(9)
        driver.ended()
    with opened(Path(built)) as it:  # under its first name it is a store like any other
        assert it.find() == []
    with opened(path) as it:
        assert it.find() == []


def test_a_new_store_takes_the_place_of_nothing(path: Path) -> None:
    def build(new: str) -> None:
        path.write_text("of somebody who was quicker")
        Path(new).write_text("ours")

    files.create(str(path), build)
    assert contents(path.parent) == {"jobs": b"of somebody who was quicker"}


def test_a_new_store_that_cannot_be_made_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE jobs (a); CREATE TABLE jobs (a)",))
    with pytest.raises(StoreError, match="jobs cannot be opened: table jobs already exists"):
        Store(path)
    assert contents(path.parent) == {}


def test_a_path_with_any_letters_is_that_path(path: Path) -> None:
    for name in ("a?mode=memory", "a#b", "ü %41 'x'", os.fsdecode(b"\xff"), ":memory:", "file:a"):
        with opened(path.with_name(name)) as it:
            it.write(jobs("a"))
        assert path.with_name(name).stat().st_size > 4096
        with opened(path.with_name(name)) as it:
            assert ids(it) == ["a"]


# --- what is no store


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (b"", "it is empty"),
        (b"x", "it is no database: it begins with b'x'"),
        (b"#!/bin/sh\n" * 1000, "it is no database"),
        (bytes(8192), "it is no database"),
        (b"SQLite format 3\0", "it has been cut to 16 bytes"),
    ],
)
def test_a_file_that_is_no_database_is_refused(path: Path, found: bytes, words: str) -> None:
    path.write_bytes(found)
    path.chmod(0o600)
    refused(path, rf"jobs is no store of jobs: {words}.*; move it away.*recover")


def test_the_database_of_another_application_is_refused(path: Path) -> None:
    with looking(path) as stranger:
        stranger.executescript("CREATE TABLE jobs (job_id); PRAGMA application_id = 17; PRAGMA user_version = 1")
    path.chmod(0o600)
    refused(path, "a database of another application")


@pytest.mark.parametrize(("name", "words"), [("none/jobs", "there is no folder"), ("file/jobs", "no folder")])
def test_a_folder_that_is_not_there_is_named(path: Path, name: str, words: str) -> None:
    (path.parent / "file").touch()
    with pytest.raises(StoreError, match=words) as caught:
        Store(path.parent / name)
    assert str((path.parent / name).parent) in str(caught.value)


def test_an_older_schema_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as it:
        it.write(jobs("a"))
    scripts = ("ALTER TABLE jobs ADD COLUMN mood TEXT", "UPDATE jobs SET mood = 'fine'")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *scripts))
    with opened(path) as it:
        assert it.find()[0]["mood"] == "fine"
        assert sql(it, "PRAGMA user_version") == (3,)
        it.write([Update("a", {"mood": "better"})])
    with opened(path) as it:  # and not once more
        assert it.find()[0]["mood"] == "better"


def test_a_migration_that_fails_leaves_what_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as it:
        it.write(jobs("a"))
    old = schema.MIGRATIONS
    broken = "ALTER TABLE jobs ADD COLUMN mood TEXT; UPDATE jobs SET nowhere = 1"
    monkeypatch.setattr(schema, "MIGRATIONS", (*old, "ALTER TABLE jobs ADD COLUMN good TEXT", broken))
    with pytest.raises(StoreError, match="jobs cannot be opened: no such column: nowhere"):
        Store(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*old, "ALTER TABLE jobs ADD COLUMN good TEXT"))
    with opened(path) as it:
        assert sql(it, "PRAGMA user_version") == (2,)
        [row] = it.find()
        assert row["job_id"] == "a" and "good" in row and "mood" not in row


def test_a_newer_schema_is_refused(path: Path) -> None:
    Store(path).close()
    with looking(path) as stranger:
        stranger.execute("PRAGMA user_version = 7")
    refused(path, r"was made by a newer orchestrator \(schema 7, this one knows 1\): upgrade")


def test_a_newer_schema_that_only_the_log_knows_of_is_refused(path: Path) -> None:
    script = """
    from orchestrator.store import schema
    Store(path).close()
    schema.MIGRATIONS += ("ALTER TABLE jobs ADD COLUMN mood TEXT",)
    Store(path)
    os._exit(0)
    """
    with driving(path.parent, script, preamble=PREAMBLE) as driver:
        assert driver.ended() == 0
    refused(path, r"newer orchestrator \(schema 2, this one knows 1\)")


# --- what another could have written


def refused_for_safety(path: Path, words: str) -> None:
    refused(path, f"is refused: {words}.*It holds pickles")


@pytest.mark.parametrize("side", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(path: Path, side: str, mode: int) -> None:
    Store(path).close()
    file = path.with_name(f"jobs{side}")
    file.touch()
    file.chmod(mode)
    refused_for_safety(path, rf"others can write to {file} \(mode {mode:o}\): chmod 600")


@needs_root
@pytest.mark.parametrize("side", ["", "-wal", "-shm", "-journal"])
def test_a_file_of_another_user_is_refused(path: Path, side: str) -> None:
    Store(path).close()
    file = path.with_name(f"jobs{side}")
    file.touch(0o600)
    os.chown(file, NOBODY, NOBODY)
    refused_for_safety(path, f"{file} belongs to user {NOBODY}, and you are user 0")


@pytest.mark.parametrize("side", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "folder"])
def test_what_is_no_file_is_refused(path: Path, side: str, kind: str) -> None:
    Store(path).close()
    file = path.with_name(f"jobs{side}")
    if side == "":
        path.rename(path.with_name("real"))
    else:
        path.with_name("real").touch(0o600)
    match kind:
        case "link":
            file.symlink_to("real")
        case "dangling link":
            file.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(file, 0o600)
        case "folder":
            file.mkdir()
    for _ in range(2):
        words = f"is refused: {file} is (a symbolic link|no regular file).*It holds pickles"
        with pytest.raises(StoreError, match=words):
            Store(path)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_others_can_write_is_refused_unless_they_cannot_replace_what_is_ours(
    path: Path, there: bool
) -> None:
    if there:
        Store(path).close()
    path.parent.chmod(0o707)
    refused_for_safety(path, r"others can write to its folder \(mode 707\): chmod go-w it")
    path.parent.chmod(0o1777)
    Store(path).close()


@needs_root
def test_a_folder_that_a_group_can_write_is_refused_unless_it_is_the_users_own_group(path: Path) -> None:
    path.parent.chmod(0o770)
    Store(path).close()
    os.chown(path.parent, 0, 1)
    refused_for_safety(path, r"others can write to its folder \(mode 770\)")


def as_nobody(question: Callable[[], object]) -> str:
    """Return the answer of a fork that is an ordinary user, or what it raises."""
    read, write = os.pipe()
    if not (pid := os.fork()):
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            answer = str(question())
        except BaseException as error:  # whatever it is, the fork must not go on as a second pytest
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as answers:
        answer = answers.read()
    os.waitpid(pid, 0)
    return answer


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Give an ordinary user a folder; those of pytest are root's."""
    folder = Path(tempfile.mkdtemp(dir=Path(tempfile.gettempdir()).parent))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.parametrize("what", ["file", "folder", "folder without a store"])
def test_what_is_read_only_is_refused_at_once(reachable: Path, what: str) -> None:
    path = reachable / "jobs"
    if what != "folder without a store":
        assert as_nobody(lambda: Store(path).close()) == "None"
    (path if what == "file" else reachable).chmod(0o400 if what == "file" else 0o500)
    before = contents(reachable)
    answer = as_nobody(lambda: Store(path))
    assert answer.startswith(f"StoreError: the store {path} cannot be written")
    assert "read-only" in answer
    assert contents(reachable) == before


def test_a_file_that_cannot_be_read_is_refused(reachable: Path) -> None:
    assert as_nobody(lambda: Store(reachable / "jobs").close()) == "None"
    (reachable / "jobs").chmod(0o200)
    assert as_nobody(lambda: Store(reachable / "jobs")).startswith("StoreError: ")


def test_a_log_whose_database_is_missing_is_not_put_to_another(path: Path) -> None:
    crash(path)
    path.unlink()
    refused(path, f"jobs is missing, but not {path}-wal, which belongs to it")


def test_a_store_that_is_moved_away_is_no_longer_written(path: Path) -> None:
    with opened(path) as it:
        it.write(jobs("a"))
        path.rename(path.with_name("moved"))
        with pytest.raises(StoreError, match="No such file"):
            it.write(jobs("b"))
        path.touch()
        with pytest.raises(StoreError, match="is another file than the one we have"):
            it.write(jobs("b"))
        path.unlink()
        path.with_name("moved").rename(path)
        it.write(jobs("c"))
        assert ids(it) == ["a", "c"]


# --- what is damaged


_BATCHES = 12


def crash(path: Path, before: int = 0) -> list[str]:
    """Leave a store as a killed program does: so many jobs in the file, and twelve transactions in the log alone."""
    pid = os.fork()
    if not pid:
        try:
            it = Store(path)
            it.write([Insert({"job_id": f"before-{n}", "result": bytes([n % 256]) * 700}) for n in range(before)])
            sql(it, "PRAGMA wal_checkpoint(TRUNCATE)")
            sql(it, "PRAGMA wal_autocheckpoint = 0")
            for batch in range(_BATCHES):
                it.write(jobs(f"{batch}-0", f"{batch}-1", result=bytes(1500)))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return [f"before-{n}" for n in range(before)] + [f"{batch}-{n}" for batch in range(_BATCHES) for n in range(2)]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    """The files of a store whose program was killed, and the jobs that it was told are written."""
    folder = tmp_path_factory.mktemp("crashed")
    names = crash(folder / "jobs", 30)
    return {file.name: file.read_bytes() for file in folder.iterdir()}, names


def lay(path: Path, found: dict[str, bytes]) -> None:
    """Put files in the place of what is there."""
    for file in path.parent.iterdir():
        file.unlink()
    for name, data in found.items():
        (path.parent / name).write_bytes(data)
        (path.parent / name).chmod(0o600)


def jobs_of(path: Path) -> list[str] | None:
    """Return the jobs of a store, None when it is refused; that must change nothing, and must not be for once."""
    before = contents(path.parent)
    with contextlib.suppress(StoreError), opened(path) as it:
        return ids(it)
    assert contents(path.parent) == before
    with pytest.raises(StoreError):
        Store(path)
    return None


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def places(size: int, count: int) -> list[int]:
    """Return places in a file: its first hundred bytes and last ones, and others by a fixed chance."""
    return sorted(
        {*range(0, min(size, 100), 3), size - 1, size - 2, *random.Random(size).choices(range(size), k=count)}
    )


Crash = tuple[dict[str, bytes], list[str]]


def test_after_a_crash_everything_is_there(path: Path, crashed: Crash) -> None:
    found, names = crashed
    lay(path, found)
    assert jobs_of(path) == names
    lay(path, {name: found[name] for name in ("jobs", "jobs-wal")})  # a copy, as a backup makes
    assert jobs_of(path) == names


def test_after_a_crash_a_look_with_sqlite_does_no_harm(path: Path, crashed: Crash) -> None:
    found, names = crashed
    for how in ("rw", "ro"):
        lay(path, found)
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode={how}", uri=True)) as stranger:
            assert stranger.execute("SELECT count(*) FROM jobs").fetchall() == [(len(names),)]
        assert path.with_name("jobs-wal").exists() == (how == "ro")
        assert jobs_of(path) == names


def test_a_cut_file_is_refused(path: Path) -> None:
    with opened(path) as it:
        it.write(jobs(*range(60), result=bytes(700)))
    whole = path.read_bytes()
    for size in places(len(whole), 60):
        lay(path, {"jobs": whole[:size]})
        assert jobs_of(path) is None, size


def test_a_cut_file_with_a_log_is_refused_or_whole(path: Path, crashed: Crash) -> None:
    found, names = crashed
    answers = set()
    for size in places(len(found["jobs"]), 60):
        lay(path, {**found, "jobs": found["jobs"][:size]})
        there = jobs_of(path)
        assert there in (None, names), size
        answers.add(there is None)
    assert True in answers


def test_a_log_that_was_cut_is_refused(path: Path, crashed: Crash) -> None:
    found, _ = crashed
    for size in [0, *places(len(found["jobs-wal"]), 60)]:
        lay(path, {**found, "jobs-wal": found["jobs-wal"][:size]})
        assert jobs_of(path) is None, size
    lay(path, {name: found[name] for name in ("jobs", "jobs-shm")})
    assert jobs_of(path) is None


def test_a_damaged_log_is_refused(path: Path, crashed: Crash) -> None:
    found, _ = crashed
    for place in places(len(found["jobs-wal"]), 100):
        lay(path, {**found, "jobs-wal": flipped(found["jobs-wal"], place)})
        assert jobs_of(path) is None, place


def test_of_a_damaged_log_without_its_index_at_most_the_last_transaction_is_missing(path: Path, crashed: Crash) -> None:
    found, names = crashed
    for place in places(len(found["jobs-wal"]), 100):
        lay(path, {"jobs": found["jobs"], "jobs-wal": flipped(found["jobs-wal"], place)})
        assert jobs_of(path) in (None, names[:-2]), place


def test_of_a_cut_log_without_its_index_whole_transactions_are_there(path: Path, crashed: Crash) -> None:
    found, names = crashed
    for size in places(len(found["jobs-wal"]), 60):
        lay(path, {"jobs": found["jobs"], "jobs-wal": found["jobs-wal"][:size]})
        there = jobs_of(path)
        assert there is None or (there == names[: len(there)] and len(there) % 2 == 0 and len(there) >= 30), size


def test_a_damaged_index_of_the_log_is_made_anew(path: Path, crashed: Crash) -> None:
    found, names = crashed
    for place in [*range(0, 140, 3), *places(len(found["jobs-shm"]), 20)]:
        lay(path, {**found, "jobs-shm": flipped(found["jobs-shm"], place)})
        assert jobs_of(path) == names, place


def test_what_a_crash_leaves_of_a_transaction_is_no_damage(path: Path, crashed: Crash) -> None:
    found, names = crashed
    log = found["jobs-wal"]
    lay(path, {**found, "jobs-wal": log + log[-4120:-2000]})  # half a frame
    assert jobs_of(path) == names
    lay(path, {**found, "jobs-wal": log + log[-4120:-2000] + bytes(2000)})  # a torn one
    assert jobs_of(path) == names
    lay(path, {**found, "jobs-wal": log + bytes(9000)})
    assert jobs_of(path) == names


def test_a_log_that_was_begun_again_is_read_to_its_end(path: Path) -> None:
    """What is left in it from before is older than the file; so may its index be, which is not synced."""
    if not (pid := os.fork()):
        try:
            it = Store(path)
            it.write(jobs(*range(40), result=bytes(3000)))
            shutil.copy(f"{path}-shm", path.parent.parent / "older")
            sql(it, "PRAGMA wal_checkpoint(RESTART)")
            it.write(jobs("after"))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    found = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert len(found["jobs-wal"]) > 40 * 3000
    for index in (found["jobs-shm"], (path.parent.parent / "older").read_bytes()):
        lay(path, {**found, "jobs-shm": index})
        assert jobs_of(path) == [*map(str, range(40)), "after"]


@pytest.mark.parametrize("logged", [False, True])
def test_a_damaged_file_is_refused_or_has_every_job(path: Path, crashed: Crash, logged: bool) -> None:
    found, names = crashed
    if not logged:
        lay(path, found)
        assert jobs_of(path) == names
        found = {"jobs": path.read_bytes()}
    answers = []
    for place in places(len(found["jobs"]), 250):
        lay(path, {**found, "jobs": flipped(found["jobs"], place)})
        there = jobs_of(path)
        assert there in (None, names), place
        answers.append(there)
    assert None in answers


def test_a_job_whose_name_is_damaged_is_noticed(path: Path) -> None:
    with opened(path) as it:
        it.write(jobs("first-job", "second-job"))
    whole = path.read_bytes()
    spots = [place for place in range(len(whole)) if whole.startswith(b"second-job", place)]
    assert len(spots) == 2  # in the table, and in its index
    for spot in spots:
        lay(path, {"jobs": flipped(whole, spot + 3)})
        refused(path, "jobs is damaged: .*index")


def test_a_damaged_column_is_noticed(path: Path) -> None:
    with opened(path) as it:
        it.write(jobs("a"))
    whole = path.read_bytes()
    for old, new in [
        (b"peak_memory INTEGER", b"peak_nemory INTEGER"),
        (b"output TEXT NOT NULL", b"output TEXT NOT NALL"),
    ]:
        lay(path, {"jobs": whole.replace(old, new)})
        refused(path, r"jobs (is damaged|cannot be opened): ")


def test_what_sqlite_makes_of_a_store_is_a_store(path: Path) -> None:
    """As `.recover` does, it gives its text and these two numbers; the new file has no WAL."""
    with opened(path) as it:
        it.write([*jobs(*range(30), result=bytes(700)), Update("3", {"status": "done", "finished": 1.0})])
    with looking(path) as old:
        dump = "\n".join(old.iterdump())
    path.unlink()
    with looking(path) as new:
        new.executescript(f"{dump} PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 1")
    path.chmod(0o644)
    with opened(path) as it:
        assert it.counts() == {"queued": 29, "done": 1}
        it.write([*jobs("next"), Forget(0)])
        assert it.find()[-1]["seq"] == 31
        assert sql(it, "PRAGMA journal_mode") == ("wal",)


def test_a_damaged_store_that_somebody_looks_at_is_refused_all_the_same(path: Path) -> None:
    with opened(path) as it:
        it.write(jobs("first-job", "second-job"))
    whole = path.read_bytes()
    lay(path, {"jobs": flipped(whole, whole.rindex(b"second-job"))})
    script = """
    import sqlite3
    connection = sqlite3.connect(path)
    connection.execute("SELECT count(*) FROM lease").fetchall()
    say("looks")
    signal.pause()
    """
    (path.parent / "driver").mkdir()
    with driving(
        path.parent / "driver", f"path = {str(path)!r}\n{textwrap.dedent(script)}", preamble=PREAMBLE
    ) as driver:
        driver.says("looks")
        with pytest.raises(StoreError, match=r"jobs is damaged: .*index"):
            Store(path)


def test_the_first_look_is_repeated_when_another_was_writing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(path).close()
    looks = list[str]()

    def lost(place: str) -> str | None:
        looks.append(place)
        if len(looks) == 1:
            os.utime(place, ns=(1, 1))
            return "half a page"
        return loss.lost(place)

    monkeypatch.setattr(store, "lost", lost)
    with opened(path) as it:
        assert it.find() == []
    assert len(looks) == 2
