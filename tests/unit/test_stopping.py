"""A scope stops what is held in it, and only while its context lasts."""

from __future__ import annotations

from orchestrator.stopping import Scope, entered, rest, stoppable


def test_a_scope_stops_what_is_held_and_whatever_comes_later() -> None:
    stopped: list[str] = []
    scope = Scope()
    with entered(scope):
        with stoppable(lambda: stopped.append("early")):
            scope.stop()
        with stoppable(lambda: stopped.append("late")):
            pass
        assert not rest(60)
    assert stopped == ["early", "late"]
    assert scope.interrupted


def test_after_its_context_a_stopped_scope_stops_nothing() -> None:
    scope = Scope()
    with entered(scope):
        scope.stop()
    stopped: list[str] = []
    with stoppable(lambda: stopped.append("x")):
        pass
    assert stopped == []
    assert rest(0)
    assert not scope.interrupted
