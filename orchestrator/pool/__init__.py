"""The pool: worker processes, commands, and the one queue that feeds them.

The only home of processes, psutil and loky. Above it there are tasks and outcomes.
"""
