"""What a thread tells that goes on when its workflow is long over."""

from __future__ import annotations

import threading

import pytest

from orchestrator import Event, OrchestratorTimeoutError, Task, Workflow
from orchestrator.live import listener


def test_what_a_thread_tells_that_outlives_its_workflow_goes_nowhere() -> None:
    heard: list[Event] = []
    over, ended = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def act() -> None:
        hear = listener()
        assert hear is not None
        over.wait(30)
        try:
            hear(1, b"late")
        except RuntimeError as error:
            errors.append(error)
        finally:
            ended.set()

    flow = Workflow(tasks=[Task("a", act, grace=0.1)], on_event=heard.append, live_output=True, timeout=0.3)
    with pytest.raises(OrchestratorTimeoutError):
        flow.run()
    before = list(heard)
    over.set()
    assert ended.wait(30)
    assert errors == []
    assert heard == before
