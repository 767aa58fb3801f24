"""Wait for a lock that nobody releases: a batch with a timeout of a few seconds stops this script.

Without one it gives up after ten seconds, with exit code 1, so that nobody waits for ever.
"""

import sys
import threading

PATIENCE_SECONDS = 10


def main() -> None:
    lock = threading.Lock()
    lock.acquire()
    print("waiting for a lock that nobody will release", flush=True)
    if not lock.acquire(timeout=PATIENCE_SECONDS):
        sys.exit(f"hangs.py: nobody stopped me within {PATIENCE_SECONDS} seconds; give the batch a timeout")


if __name__ == "__main__":
    main()
