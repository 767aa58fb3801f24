"""The workflow: its plan, its engine, its pictures."""
