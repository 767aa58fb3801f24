"""Read a file that may be anything: what is no regular file is not opened, and nothing is waited for."""

from __future__ import annotations

import os
import stat


def read_regular(path: str, most: int, flags: int = 0) -> bytes | None:
    """Return the first `most` bytes of a regular file; None for what is none.

    A FIFO or a device is not opened, because that can have effects. With `os.O_NOFOLLOW` among the `flags` a link is no
    regular file. Raises OSError, and ValueError for a path with a NUL.
    """
    if not stat.S_ISREG(os.stat(path, follow_symlinks=not flags & os.O_NOFOLLOW).st_mode):
        return None
    # By now a FIFO may have taken its place, which must not make us wait: O_NONBLOCK, and a second look.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    try:
        found = os.fstat(file)
        return os.read(file, min(most, found.st_size)) if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(file)
