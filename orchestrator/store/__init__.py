"""The scheduler's durable memory: a file that one process at a time writes, and the thread that writes it."""

from orchestrator.store.journal import Journal
from orchestrator.store.schema import Change, Forget, Insert, Row, Update, Waiting
from orchestrator.store.store import Store

__all__ = ["Change", "Forget", "Insert", "Journal", "Row", "Store", "Update", "Waiting"]
