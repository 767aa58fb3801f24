"""Agents: what they are given, what comes of it, and what they can never do."""
