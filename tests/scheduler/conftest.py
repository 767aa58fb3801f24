"""Fixtures of the scheduler's tests."""

from tests.scheduler.clocks import wall

__all__ = ["wall"]
