"""Capture: the driver's end of a task's output."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.pool.capture import Capture


@pytest.fixture
def capture() -> Iterator[Capture]:
    capture = Capture(100)
    yield capture
    capture.close()


def test_each_task_gets_its_own_part_and_nothing_twice(capture: Capture) -> None:
    os.write(capture.fd, b"first")
    end = capture.end()
    os.write(capture.fd, b"second")
    assert capture.read(end) == b"first"
    assert capture.read() == b"second"
    assert capture.read() == b""
    assert capture.read(end) == b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.integers(0, 5000), limit=st.integers(1, 400))
def test_what_exceeds_the_limit_is_cut_to_an_exact_head_and_tail(size: int, limit: int) -> None:
    data = bytes(number % 251 for number in range(size))
    capture = Capture(limit)
    try:
        os.write(capture.fd, b"earlier")
        capture.read()
        os.write(capture.fd, data)
        got = capture.read()
    finally:
        capture.close()
    if size <= limit:
        assert got == data
        return
    half = limit // 2
    note = b"\n[... %d bytes of output cut ...]\n" % (size - 2 * half)
    assert got == data[:half] + note + data[size - half :]


def test_the_middle_of_a_flood_is_given_back_while_it_is_written() -> None:
    capture = Capture(1 << 20)
    try:
        block = b"x" * (1 << 20)
        for _ in range(64):
            os.write(capture.fd, block)
            capture.relieve()
        assert os.fstat(capture.fd).st_blocks * 512 <= 8 << 20
        got = capture.read()
        assert got.count(b"x") == 1 << 20
        assert b"%d bytes of output cut" % (63 << 20) in got
    finally:
        capture.close()


def test_the_file_is_emptied_when_all_of_it_has_been_read() -> None:
    capture = Capture(1 << 20)
    try:
        os.write(capture.fd, b"x" * 500_000)
        assert len(capture.read()) == 500_000
        capture.trim()
        assert os.fstat(capture.fd).st_blocks * 512 <= 1 << 17
        os.write(capture.fd, b"next")
        assert capture.read() == b"next"
        os.write(capture.fd, b"y" * 500_000)
        capture.trim()  # not read yet
        assert capture.read() == b"y" * 500_000
    finally:
        capture.close()


def test_closing_twice_is_closing_once(capture: Capture) -> None:
    capture.close()
    capture.close()
    assert capture.fd == -1
