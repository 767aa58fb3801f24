"""RetryPolicy and with_retry: which delay, and what becomes of the last exception."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Ending, RetryPolicy, with_retry
from orchestrator.outcome import Outcome
from tests import crimes


class Flaky:
    """Raise these errors, one a call, and then answer."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "fine"


def patiently(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator, without delays unless asked for."""
    return with_retry(**{"initial_delay": 0, **options})


def test_attempt_one_is_followed_by_the_initial_delay_and_later_ones_grow_up_to_the_cap() -> None:
    policy = RetryPolicy(initial_delay=1, exponential_base=3, max_delay=10)
    assert [policy.get_delay(attempt) for attempt in (1, 2, 3, 4, 5_000)] == [1, 3, 9, 10, 10]


@given(st.integers(1, 2000), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 100))
def test_a_delay_is_never_negative_above_the_cap_or_shorter_than_the_one_before(
    attempt: int, initial: float, most: float, base: float
) -> None:
    policy = RetryPolicy(initial_delay=initial, max_delay=most, exponential_base=base)
    assert 0 <= policy.get_delay(attempt) <= policy.get_delay(attempt + 1) <= most


def test_full_jitter_draws_between_nothing_and_the_whole_delay() -> None:
    drawn = [RetryPolicy(initial_delay=8, jitter=True).get_delay(1) for _ in range(200)]
    assert min(drawn) >= 0
    assert max(drawn) <= 8
    assert max(drawn) - min(drawn) > 4


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_attempts": 0}, ValueError, "max_attempts"),
        ({"max_attempts": True}, TypeError, "max_attempts"),
        ({"max_attempts": 2.0}, TypeError, "max_attempts"),
        ({"initial_delay": -1}, ValueError, "initial_delay"),
        ({"initial_delay": float("nan")}, ValueError, "initial_delay"),
        ({"initial_delay": float("inf")}, ValueError, "initial_delay"),
        ({"max_delay": None}, ValueError, "max_delay"),
        ({"exponential_base": 0.5}, ValueError, "exponential_base"),
        ({"retry_on": OSError}, TypeError, "tuple of exception types"),
        ({"retry_on": ("OSError",)}, TypeError, "tuple of exception types"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_at_once(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        RetryPolicy(**options)
    with pytest.raises(error, match=words):
        with_retry(**options)


@pytest.mark.parametrize("ending", list(Ending))
def test_only_endings_that_another_attempt_can_change_are_tried_again(ending: Ending) -> None:
    again = {Ending.RAISED, Ending.TIMED_OUT, Ending.CRASHED, Ending.OUT_OF_MEMORY}
    policy = RetryPolicy(max_attempts=2, initial_delay=3)
    assert policy.decide(Outcome(ending), 1) == (3 if ending in again else None)
    assert policy.decide(Outcome(ending), 2) is None


def test_it_is_called_until_it_answers() -> None:
    flaky = Flaky(ConnectionError("one"), ConnectionError("two"))

    @patiently(max_attempts=3)
    def call() -> str:
        return flaky()

    assert call() == "fine"
    assert flaky.calls == 3


def test_the_last_exception_comes_out_unchanged_with_the_number_of_attempts() -> None:
    errors = [ConnectionError("one"), ConnectionError("two")]
    flaky = Flaky(*errors)

    @patiently(max_attempts=2)
    def call() -> str:
        return flaky()

    with pytest.raises(ConnectionError) as caught:
        call()
    assert caught.value is errors[1]
    assert caught.value.__notes__ == ["with_retry gave up after 2 attempts"]
    assert not hasattr(errors[0], "__notes__")


def test_an_exception_that_is_not_meant_is_not_retried() -> None:
    flaky = Flaky(KeyError("no"))
    with pytest.raises(KeyError):
        patiently(retry_on=(OSError,))(flaky)()
    assert flaky.calls == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()])
def test_an_interruption_is_never_retried(interruption: BaseException) -> None:
    flaky = Flaky(interruption)
    with pytest.raises(type(interruption)):
        patiently(retry_on=(BaseException,))(flaky)()
    assert flaky.calls == 1


def test_an_exception_that_refuses_notes_comes_out_all_the_same() -> None:
    with pytest.raises(crimes.Frozen):
        patiently(max_attempts=2)(Flaky(crimes.Frozen("a"), crimes.Frozen("b")))()


def test_a_coroutine_function_stays_one_and_waits_in_its_loop() -> None:
    flaky = Flaky(OSError(), OSError())
    others = 0

    @with_retry(max_attempts=3, initial_delay=0.02)
    async def call(answer: str, *, mark: str) -> str:
        return flaky() + answer + mark

    async def main() -> str:
        async def count() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        try:
            return await call("!", mark="?")
        finally:
            counting.cancel()

    assert inspect.iscoroutinefunction(call)
    assert asyncio.run(main()) == "fine!?"
    assert others > 10


def test_methods_static_and_class_methods_are_wrapped_below_their_decorators() -> None:
    flaky = Flaky(OSError(), OSError())

    class Client:
        name = "client"

        @patiently()
        def get(self, path: str) -> str:
            return f"{flaky()} {self.name} {path}"

        @classmethod
        @patiently()
        def make(cls) -> str:
            return f"{flaky()} {cls.name}"

        @staticmethod
        @patiently()
        def ping(self: str) -> str:
            return f"{flaky()} {self}"

    assert [Client().get("/"), Client.make(), Client.ping(self="pong")] == ["fine client /", "fine client", "fine pong"]


def test_name_docstring_and_the_function_itself_are_kept() -> None:
    @with_retry()
    def fetch() -> None:
        """Fetch it."""

    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch it.")
    assert inspect.unwrap(fetch) is not fetch


def test_generator_functions_are_refused_with_the_reason() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def more() -> AsyncIterator[int]:
        yield 1

    for generator in (numbers, more):
        with pytest.raises(TypeError, match=r"generator function .*iterates"):
            with_retry()(generator)


def test_forgotten_parentheses_and_what_is_no_function_are_named() -> None:
    with pytest.raises(TypeError, match="parentheses"):
        with_retry(len)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="classmethod"):
        with_retry()(classmethod(len))  # type: ignore[type-var,arg-type]


def test_a_policy_travels() -> None:
    policy = RetryPolicy(max_attempts=5, retry_on=(OSError, ValueError), jitter=True)
    assert pickle.loads(pickle.dumps(policy)) == policy
