"""When a job that recurs is due next: on a grid, none lost, none twice, and of those missed only the newest."""

from __future__ import annotations

import bisect
import math
import pickle
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.jobs import recurrence
from orchestrator.jobs.recurrence import Cron, Every, Rule, parse_rule

checked = settings(deadline=None, max_examples=100)

_YEAR = 31_556_952.0
_ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Kathmandu"]
_CLOCK_CHANGES = {
    "UTC": [(2024, 2, 28)],
    "Europe/Berlin": [(2024, 3, 30), (2024, 10, 26)],
    "America/New_York": [(2024, 3, 9), (2024, 11, 2)],
    "America/Santiago": [(2024, 4, 6), (2024, 9, 7)],  # at midnight
    "Asia/Kathmandu": [(2024, 12, 30)],
}
"""The days before the clocks change, where they do."""

_expressions = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 2 * * *", "0,30 1-3 * * MON-FRI", "0 */5 1,31 * *", "59 23 L * *", "@weekly"]
)
_crons = st.builds(Cron, _expressions, st.none() | st.sampled_from(_ZONES))
_everies = st.builds(Every, st.integers(2, 1 << 28).map(lambda n: n / 1024))  # exact in binary, as all times are here
_rules: st.SearchStrategy[Rule] = _crons | _everies
_times = st.integers(1_000_000_000 * 1024, 2_000_000_000 * 1024).map(lambda n: n / 1024)
_spans = st.one_of(
    st.just(0.0),
    st.integers(0, 90_000 * 1024).map(lambda n: n / 1024),
    st.integers(0, int(3 * _YEAR)).map(float),
)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Make TZ the zone of the parameter, and say how a rule without a time zone of its own is to be called there."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def _at(text: str, zone: str = "Europe/Berlin", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def _run(rule: Rule, start: float, until: float) -> list[float]:
    """Return when a job is due that always starts in time and takes no time."""
    dues = [rule.first(start)]
    while dues[-1] < until:
        dues.append(rule.next(dues[-1], dues[-1]))
    return dues[:-1]


# Of either kind


@checked
@given(_rules, _times, st.one_of(_spans, _spans.map(float.__neg__)))
def test_the_next_one_is_always_later(rule: Rule, due: float, lateness: float) -> None:
    assert rule.next(due, due + lateness) > due
    assert rule.first(due) >= due


@checked
@given(_rules, _times, _spans)
def test_of_those_missed_the_newest_is_made_up_for_and_then_the_grid_goes_on(
    rule: Rule, start: float, lateness: float
) -> None:
    due = rule.first(start)
    now = due + lateness
    found = rule.next(due, now)
    after = rule.next(found, now)
    assert after > now, "a second one to catch up with"
    if found > now:
        assert found == rule.next(due, due), "one was passed over"
    else:
        assert after == rule.next(found, found), "the grid has moved"


@checked
@given(_rules, _times, _spans.filter(bool))
def test_a_clock_set_back_repeats_none_and_moves_none(rule: Rule, start: float, back: float) -> None:
    due = rule.first(start)
    assert rule.next(due, due - back) == rule.next(due, due)


@checked
@given(_rules, _times, st.lists(st.tuples(_spans, _spans, _spans, st.sampled_from([-1, 0, 1])), max_size=8))
def test_runs_that_are_late_or_slow_or_on_a_jumping_clock_make_no_burst(
    rule: Rule, now: float, runs: list[tuple[float, float, float, int]]
) -> None:
    due = rule.first(now)
    for late, duration, jump, direction in runs:
        now = max(now, due) + late + duration + direction * jump
        previous, due = due, rule.next(due, now)
        assert due > previous
        if due <= now:  # made up for at once; where that takes no time, it was the only one
            assert rule.next(due, now) > now
        else:
            assert due == rule.next(previous, previous)


# Every


@checked
@given(st.integers(2, 1 << 20), st.integers(1 << 40, 1 << 41), st.integers(-(1 << 24), 1 << 24))
def test_every_keeps_to_its_grid(step: int, due: int, lateness: int) -> None:
    missed = max(0, lateness) // step
    assert Every(step / 1024).next(due / 1024, (due + lateness) / 1024) == (due + max(1, missed) * step) / 1024


@checked
@given(st.floats(0.001, 1e6), st.integers(1_000_000_000, 2_000_000_000), st.floats(0, 1e9))
def test_every_is_as_exact_as_a_float_allows(seconds: float, due: int, lateness: float) -> None:
    found = Every(seconds).next(due, due + lateness)
    steps = (found - due) / seconds
    assert found - max(due + lateness, due + seconds) <= 1e-6
    assert abs(steps - round(steps)) * seconds <= 1e-6


def test_every_is_due_at_once_and_one_due_just_now_counts_as_missed() -> None:
    rule = Every(10)
    assert rule.first(5.0) == 5.0
    assert [rule.next(100.0, now) for now in (100.0, 109.0, 110.0, 119.0, 120.0)] == [110.0, 110.0, 110.0, 110.0, 120.0]


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (0, ValueError, "more than zero"),
        (-1, ValueError, "more than zero"),
        (math.nan, ValueError, "nan"),
        (math.inf, ValueError, "finite"),
        (None, ValueError, "finite"),
        (0.0009, ValueError, "at least 0.001"),
        (True, TypeError, "True"),
        ("60", TypeError, "'60'"),
    ],
)
def test_every_takes_only_a_number_of_seconds(seconds: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Every(seconds)


# Cron


@cache
def _clock(zone: str, day: tuple[int, int, int]) -> list[tuple[float, datetime]]:
    """Return each minute of three days and a half, with what the clock on the wall shows."""
    first = int(datetime(*day, tzinfo=ZoneInfo(zone)).timestamp())
    minutes = range(first, first + 5040 * 60, 60)
    return [(float(minute), datetime.fromtimestamp(minute, ZoneInfo(zone)).replace(tzinfo=None)) for minute in minutes]


def _grid(clock: list[tuple[float, datetime]], expression: str) -> list[float]:
    """Return when an expression is due, found by looking at the clock each minute, as Debian's cron does."""
    minute_field, hour_field, *_ = expression.split()

    def fits(shown: datetime) -> bool:
        return _in_field(shown.minute, minute_field, 60) and _in_field(shown.hour, hour_field, 24)

    if minute_field[0] == "*" or hour_field[0] == "*":
        return [moment for moment, shown in clock if fits(shown)]
    due = set()
    reached = clock[0][1] - timedelta(minutes=1)
    for moment, shown in clock:
        while reached < shown:  # by one minute, or over a gap; not in an hour that comes again
            reached += timedelta(minutes=1)
            if fits(reached):
                due.add(moment)
    return sorted(due)


def _in_field(value: int, field: str, size: int) -> bool:
    part, _, step = field.partition("/")
    start, _, end = part.partition("-")
    values = range(size) if part == "*" else range(int(start), int(end or start) + 1)
    return value in values[:: int(step or 1)]


@checked
@given(st.data())
def test_cron_agrees_with_a_look_at_the_clock_each_minute_where_the_clocks_change(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(_ZONES))
    clock = _clock(zone, data.draw(st.sampled_from(_CLOCK_CHANGES[zone])))
    minute = data.draw(st.sampled_from(["*", "*/20", "0", "30", "10-50/20", "0-59"]))
    hour = data.draw(st.sampled_from(["*", "*/2", "0", "1", "2", "3", "1-3", "0-23", "23"]))
    expression = f"{minute} {hour} * * *"
    grid = _grid(clock, expression)
    rule = Cron(expression, zone)
    start = data.draw(st.floats(clock[0][0], clock[-1][0]))
    now = data.draw(st.floats(clock[0][0], clock[-1][0]))
    later = grid[bisect.bisect(grid, start) :]
    if later:
        assert rule.first(start) == later[0]
    missed = [due for due in later if due <= now]
    if missed or later:
        assert rule.next(start, now) == (missed[-1] if missed else later[0])


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize("timezone", [None, "Europe/Berlin"])
@pytest.mark.parametrize(
    ("expression", "day", "dues"),
    [
        ("30 2 * * *", "2024-03-31", ["03:00"]),
        ("0,30 2 * * *", "2024-03-31", ["03:00"]),
        ("30 2,3 * * *", "2024-03-31", ["03:00", "03:30"]),
        ("30 */2 * * *", "2024-03-31", [f"{hour:02}:30" for hour in range(0, 24, 2) if hour != 2]),
        ("30 2 * * *", "2024-10-27", ["02:30"]),
        ("30 1-3 * * *", "2024-10-27", ["01:30", "02:30", "03:30"]),
        ("30 */2 * * *", "2024-10-27", sorted([*(f"{hour:02}:30" for hour in range(0, 24, 2)), "02:30 again"])),
    ],
)
def test_where_summer_time_begins_or_ends(
    zone: str, timezone: str | None, expression: str, day: str, dues: list[str]
) -> None:
    start, end = _at(f"{day} 00:00") - 1, _at(f"{day} 23:59")
    expected = [_at(f"{day} {due[:5]}", fold=due.endswith("again")) for due in dues]
    assert [due for due in _run(Cron(expression, timezone), start, end + 1) if due <= end] == expected


@pytest.mark.parametrize(
    "zone", ["Asia/Kathmandu", "America/New_York", "UTC", "CET-1CEST,M3.5.0,M10.5.0/3"], indirect=True
)
def test_without_a_time_zone_it_goes_by_the_clock_of_the_machine(zone: str) -> None:
    due = Cron("15 4 * * *").first(_at("2024-06-15 12:00", "UTC"))
    assert time.localtime(due)[3:6] == (4, 15, 0)
    assert 0 < due - _at("2024-06-15 12:00", "UTC") <= 86_400


def test_a_moment_in_the_second_of_two_equal_hours_has_nothing_due_in_the_first() -> None:
    rule = Cron("30 2 * * *", "Europe/Berlin")
    moment = _at("2024-10-27 02:10", fold=1)
    assert rule.first(moment) == _at("2024-10-28 02:30")
    assert rule.next(_at("2024-10-20 02:30"), moment) == _at("2024-10-27 02:30")


def test_a_moment_on_the_grid_is_not_its_own_next_one() -> None:
    rule = Cron("0 3 * * *", "UTC")
    assert rule.first(_at("2024-06-15 03:00", "UTC")) == _at("2024-06-16 03:00", "UTC")
    assert rule.first(math.nextafter(_at("2024-06-15 03:00", "UTC"), 0)) == _at("2024-06-15 03:00", "UTC")
    assert rule.next(_at("2024-06-14 03:00", "UTC"), _at("2024-06-15 03:00", "UTC")) == _at("2024-06-15 03:00", "UTC")


def test_ten_years_of_missed_minutes_take_few_looks_at_the_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(*arguments: Any) -> CronSim:
        nonlocal looks
        looks += 1
        return CronSim(*arguments)

    rule = Cron("* * * * *", "Europe/Berlin")
    now = _at("2034-06-15 12:00:30")
    monkeypatch.setattr(recurrence, "CronSim", counted)
    assert rule.next(now - 10 * _YEAR, now) == now - 30
    assert looks < 40


@pytest.mark.parametrize(
    ("nickname", "expression"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 JAN *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_a_nickname_is_its_expression(nickname: str, expression: str) -> None:
    start = _at("2024-06-15 12:34")
    assert _run(Cron(nickname), start, start + 3 * _YEAR / 12) == _run(Cron(expression), start, start + 3 * _YEAR / 12)


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 */29 2 MON", "0 0 31 1,4 *", "0 0 30 2 MON", "0 0 LW * *"])
def test_what_is_rare_is_due_some_day(expression: str) -> None:
    assert Cron(expression, "UTC").first(_at("2096-03-01 00:00")) > _at("2096-03-01 00:00")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "'' has 0 fields; write five fields .*'30 2 \\* \\* MON-FRI'"),
        ("5", "has 1 field;"),
        ("* * * *", "has 4 fields"),
        ("0 * * * * *", "has 6 fields"),
        ("60 * * * *", "'60 .*: bad minute; write five"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * FUNDAY", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        (f"*/{'9' * 5000} * * * *", "digits"),
        ("0 0 30 2 *", "none of its months has such a day"),
        ("0 0 31 4,6,9,11 *", "none of its months has such a day"),
        ("0 0 */31 * MON#5", "never fits"),
        ("@reboot", "@hourly, @daily.* or write five"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_what_is_wrong_and_an_example(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        Cron(expression)
    assert "30 2 * * MON-FRI" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berlim", "did you mean 'Europe/Berlin'"),
        ("europe/berlin", "did you mean 'Europe/Berlin'"),
        ("Mars", "write one such as|did you mean"),
        ("Europe", "no time zone"),
        ("../etc/passwd", "no time zone"),
        ("", "no time zone"),
        ("a\0b", "no time zone"),
        ("x" * 5000, "write one such as"),
    ],
)
def test_an_unknown_time_zone_is_named_with_those_close_to_it(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as raised:
        Cron("@daily", name)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize("build", [lambda: Cron(None), lambda: Cron(b"@daily"), lambda: Cron("@daily", 1)])  # type: ignore[arg-type]
def test_what_is_not_text_is_refused(build: Callable[[], Cron]) -> None:
    with pytest.raises(TypeError):
        build()


# As text


@checked
@given(_rules | st.floats(0.001, 1e300).map(Every))
def test_a_rule_read_back_from_its_text_is_equal(rule: Rule) -> None:
    assert parse_rule(rule.text) == rule
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_the_text_is_what_stores_hold_already() -> None:
    assert Every(90).text == "every 90.0"
    assert Cron(" 0  3 * * * ").text == "cron 0 3 * * *"
    assert Cron("@daily", "Europe/Berlin").text == "cron @daily in Europe/Berlin"


@pytest.mark.parametrize("text", ["", "every", "every x", "every nan", "cron", "cron 1", "cron @daily in X", "hourly"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rule(text)
