"""The wire between driver and worker, and the pace at which tasks travel."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pool.job import Pace
from workers import wire

frames = st.lists(
    st.tuples(
        st.sampled_from([wire.READY, wire.STARTED, wire.DONE]),
        st.integers(0, 255),
        st.integers(0, 65535),
        st.floats(0, 1e9),
        st.floats(0, 1e9),
        st.integers(0, 2**63),
        st.integers(0, 2**63),
        st.integers(0, 2**63),
        st.binary(max_size=300),
    ),
    max_size=8,
)


def encode(frame: tuple[Any, ...]) -> bytes:
    *fields, body = frame
    return bytes(wire.HEADER.pack(len(body), *fields) + body)


def pour(reader: wire.FrameReader, data: bytes) -> list[tuple[Any, ...]]:
    """Let bytes arrive in a reader and return the frames, without their lengths."""
    taken: list[tuple[Any, ...]] = []
    while data:
        with reader.room() as room:
            count = min(len(room), len(data))
            room[:count] = data[:count]
        reader.came(count)
        data = data[count:]
        taken += [tuple(frame[1:]) for frame in reader.take()]
    return taken


@given(frames, st.lists(st.integers(1, 200), max_size=60))
def test_however_the_bytes_are_split_the_frames_are_the_same(sent: list[tuple[Any, ...]], sizes: list[int]) -> None:
    stream = b"".join(map(encode, sent))
    reader = wire.FrameReader()
    received: list[tuple[Any, ...]] = []
    start = 0
    for size in [*sizes, len(stream) + 1]:
        received += pour(reader, stream[start : start + size])
        start += size
    assert received == sent
    assert reader.missing == 0


@given(frames.filter(bool), st.data())
def test_a_torn_last_frame_is_never_told(sent: list[tuple[Any, ...]], data: st.DataObject) -> None:
    stream, last = b"".join(map(encode, sent)), encode(sent[-1])
    cut = data.draw(st.integers(1, len(last)))
    reader = wire.FrameReader()
    assert pour(reader, stream[: len(stream) - cut]) == sent[:-1]
    assert reader.missing == (cut if len(last) - cut >= wire.HEADER_SIZE else 0)


def test_a_large_body_arrives_whole_between_small_ones_and_its_room_is_given_back() -> None:
    small = (wire.DONE, 0, 0, 1.0, 0.5, 7, 8, 9, b"body")
    large = (wire.DONE, 0, 0, 1.0, 0.5, 7, 8, 9, bytes(range(256)) * 40_000)
    reader = wire.FrameReader()
    assert pour(reader, encode(small) + encode(large) + encode(small)) == [small, large, small]
    with reader.room() as room:
        assert len(room) < 1 << 21


@given(frames, st.integers(0, 600_000))
def test_while_something_is_missing_there_is_room_for_it(sent: list[tuple[Any, ...]], size: int) -> None:
    """Or reading nothing into no room would be taken for the end of the pipe."""
    sent = [*sent, (wire.DONE, 0, 0, 1.0, 0.5, 7, 8, 9, bytes(size))]
    stream, reader = b"".join(map(encode, sent)), wire.FrameReader()
    received: list[tuple[Any, ...]] = []
    while stream:
        with reader.room() as room:
            assert len(room) > 0
            count = min(len(room), len(stream))
            room[:count] = stream[:count]
        reader.came(count)
        stream = stream[count:]
        if not reader.missing:  # as a worker's reading loop does
            received += [tuple(frame[1:]) for frame in reader.take()]
    assert received == sent


def test_a_failure_survives_its_journey() -> None:
    failure = wire.Failure("ValueError", "text", "Traceback", b"\x80", 3)
    assert wire.load_failure(wire.dump_failure(failure)) == failure


@given(st.text(max_size=3000), st.integers(10, 1000))
def test_a_long_text_keeps_its_head_and_tail_and_says_what_is_gone(text: str, limit: int) -> None:
    short = wire.cut(text, limit)
    if len(text) <= limit:
        assert short == text
        return
    half = limit // 2
    assert short.startswith(text[:half])
    assert short.endswith(text[-half:])
    assert f"{len(text) - 2 * half} characters cut" in short


def test_types_are_named_as_a_reader_would() -> None:
    assert wire.describe(1) == "int"
    assert wire.describe(Pace()) == "orchestrator.pool.job.Pace"


def test_tasks_travel_alone_until_their_pace_is_known_then_about_twenty_milliseconds_at_a_time() -> None:
    pace = Pace()
    assert pace.chunk == 1
    pace.note(0.001)
    assert pace.chunk == 20
    pace.note(0.5)
    assert pace.chunk == 1
    for _ in range(200):
        pace.note(1e-9)
    assert 100 < pace.chunk <= 20_000


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_a_chunk_is_never_made_of_tasks_as_slow_as_the_last_one(seconds: list[float]) -> None:
    pace = Pace()
    for value in seconds:
        pace.note(value)
        assert pace.chunk >= 1
        if value >= 0.02:
            assert pace.chunk == 1
