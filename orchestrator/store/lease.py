"""Who has a store: one process at a time, which says again and again that it lives.

A holder is dead for sure when the machine has been started anew since or its process is gone; when that cannot be seen
(another container) or says nothing (stopped, hung), it has lost the store LEASE_SECONDS after its last word. The time
is CLOCK_MONOTONIC, which all processes of a machine share and nobody can set; a store in WAL mode has one machine.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import NamedTuple

from workers.tree import start_ticks

LEASE_SECONDS = 30.0


class Holder(NamedTuple):
    """A process that has a store; the columns of `lease`. `ticks` is its `start_ticks`."""

    token: str
    pid: int
    ticks: int
    boot: str
    namespace: str
    beat: float


def myself() -> Holder:
    """Return the present process as a new holder."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    pid = os.getpid()
    return Holder(secrets.token_hex(16), pid, start_ticks(pid), boot, os.readlink("/proc/self/ns/pid"), now())


def now() -> float:
    """Return the time that leases go by."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def is_over(holder: Holder) -> bool:
    """Say whether a lease may be taken over. One of this process is: that it has the store open, it knows itself."""
    me = myself()
    if holder.boot != me.boot or now() - holder.beat > LEASE_SECONDS:
        return True
    return holder.namespace == me.namespace and (holder.pid == me.pid or not _lives(holder.pid, holder.ticks))


def _lives(pid: int, ticks: int) -> bool:
    """Say whether a process lives; a zombie, whose parent may never ask for it, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in (b"Z", b"X") and start_ticks(pid) == ticks
