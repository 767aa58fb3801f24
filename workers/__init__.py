"""What runs in a child process: the task loop, its wire format, and the guardian.

Imported by worker processes that should start fast and stay small, so this package imports the
standard library and cloudpickle only (and psutil, late, where a process tree has to be stopped),
never `orchestrator`.
"""
