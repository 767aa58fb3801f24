"""Limits, settings and retries: decisions without a process."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Ending, Limits, RetryPolicy, settings
from orchestrator.limits import check_seconds, parse_bytes, parse_seconds
from orchestrator.outcome import Outcome
from orchestrator.retries import TRANSIENT, policy_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("2d", 172800),
        (" 1H ", 3600),
        ("0", 0),
    ],
)
def test_durations_people_type_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-1", "s", "1 h", "1x", "1e3", "nan", "inf", "1h30", "0x10", "1,5"])
def test_what_is_no_duration_is_refused_with_the_allowed_forms(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write seconds"):
        parse_seconds(text)


@given(st.integers(0, 10**6), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_every_number_with_a_unit_is_that_many_of_it(number: int, unit: tuple[str, float]) -> None:
    assert parse_seconds(f"{number}{unit[0]}") == pytest.approx(number * unit[1])


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1 << 20), ("512M", 512 << 20), ("2G", 2 << 30), ("1.5GiB", 3 << 29), ("1kb", 1024), ("1 T", 1 << 40)],
)
def test_amounts_of_memory_people_type_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "-1", "M", "1X", "1e9", "nan", "lots", "1,5G"])
def test_what_is_no_amount_of_memory_is_refused_with_the_allowed_forms(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount of memory: write bytes"):
        parse_bytes(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_with_a_value_error(text: str) -> None:
    for parse in (parse_seconds, parse_bytes):
        with contextlib.suppress(ValueError):
            assert 0 <= parse(text) < math.inf


def test_absurdly_large_numbers_are_no_limit_or_refused() -> None:
    assert Limits(seconds=10**400).seconds is None
    assert check_seconds(10**400, "timeout") is None
    for build in (lambda: Limits(memory="9" * 400), lambda: parse_bytes("9" * 400)):
        with pytest.raises(ValueError, match="memory"):
            build()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), -math.inf])
def test_a_timeout_that_is_no_time_is_a_value_error(seconds: float) -> None:
    """T9"""
    with pytest.raises(ValueError, match="timeout"):
        Limits(seconds=seconds)


@pytest.mark.parametrize("seconds", [True, "5", b"5", [], object()])
def test_a_timeout_that_is_no_number_is_a_type_error(seconds: Any) -> None:
    """T9"""
    with pytest.raises(TypeError, match="timeout"):
        Limits(seconds=seconds)


def test_none_and_infinity_mean_no_limit() -> None:
    """T9"""
    assert Limits(None) == Limits(math.inf) == Limits()
    assert Limits(grace=0).grace == 0
    assert Limits(grace=None).grace == Limits().grace == 1.0
    assert Limits(memory="2G").memory == 2 << 30
    assert hash(Limits(1, "1M")) == hash(Limits(1.0, 1 << 20))


@pytest.mark.parametrize(("memory", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)])
def test_a_memory_limit_that_makes_no_sense_is_refused(memory: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="memory"):
        Limits(memory=memory)


def test_the_number_of_workers_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODOMYRMEX_MAX_WORKERS", raising=False)
    assert settings.max_workers() == 4
    monkeypatch.setenv("CODOMYRMEX_MAX_WORKERS", " 7 ")
    assert settings.max_workers() == settings.check_workers(None) == 7
    for text in ("0", "-1", "2.5", "many", "1_0"):
        monkeypatch.setenv("CODOMYRMEX_MAX_WORKERS", text)
        with pytest.raises(ValueError, match="CODOMYRMEX_MAX_WORKERS must be a whole number"):
            settings.max_workers()
    monkeypatch.setenv("ORCHESTRATOR_DEPTH", "1")
    assert settings.max_workers() == 1


def outcome(ending: Ending, exception: BaseException | None = None) -> Outcome:
    return Outcome(ending, exception=exception)


def test_delays_grow_by_the_base_up_to_the_most() -> None:
    policy = RetryPolicy(max_attempts=9, initial_delay=0.5, max_delay=3, exponential_base=2)
    assert [policy.get_delay(attempt) for attempt in range(1, 6)] == [0.5, 1, 2, 3, 3]
    with pytest.raises(ValueError, match="counts from 1"):
        policy.get_delay(0)


@given(
    st.integers(1, 10**6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(1, 1e6),
)
def test_a_delay_is_never_negative_nor_above_the_most(attempt: int, initial: float, most: float, base: float) -> None:
    policy = RetryPolicy(initial_delay=initial, max_delay=most, exponential_base=base)
    assert 0 <= policy.get_delay(attempt) <= most
    if initial == 0:
        assert policy.get_delay(attempt) == 0


def test_an_outcome_is_retried_by_its_ending_and_its_exception() -> None:
    policy = RetryPolicy(max_attempts=2, initial_delay=0.25, retry_on=(OSError,))
    assert policy.decide(outcome(Ending.RAISED, OSError()), 1) == 0.25
    assert policy.decide(outcome(Ending.RAISED, FileNotFoundError()), 1) == 0.25
    assert policy.decide(outcome(Ending.RAISED, ValueError()), 1) is None
    assert policy.decide(outcome(Ending.RAISED, OSError()), 2) is None
    for ending in Ending:
        assert (policy.decide(outcome(ending), 1) is not None) == (ending in TRANSIENT)
    assert RetryPolicy(endings=frozenset({Ending.CRASHED})).decide(outcome(Ending.RAISED), 1) is None


def test_a_timeout_is_retried_the_same_whether_the_task_was_interrupted_or_killed() -> None:
    policy = RetryPolicy(initial_delay=0, retry_on=(OSError,))
    interrupted = policy.decide(outcome(Ending.TIMED_OUT, TimeoutError()), 1)
    assert interrupted == policy.decide(outcome(Ending.TIMED_OUT), 1)


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 2.0},
        {"initial_delay": -1},
        {"max_delay": float("nan")},
        {"exponential_base": 0.5},
        {"exponential_base": float("nan")},
    ],
    ids=str,
)
def test_policies_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        RetryPolicy(**options)


def test_retries_and_a_policy_exclude_each_other() -> None:
    assert policy_of(0, None) is None
    policy = policy_of(2, None)
    assert policy is not None
    assert (policy.max_attempts, policy.get_delay(5)) == (3, 0)
    given_policy = RetryPolicy()
    assert policy_of(0, given_policy) is given_policy
    with pytest.raises(ValueError, match="either"):
        policy_of(1, given_policy)
