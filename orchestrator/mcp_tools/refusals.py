"""Refused: why a tool call is not carried out."""

from __future__ import annotations


class Refused(Exception):
    """Report a call that cannot be carried out as it was asked; the agent reads the message, and may ask otherwise."""
