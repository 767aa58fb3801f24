"""Print about 20 MB: a batch keeps what a script prints only up to a cap, and says so."""

import hashlib

LINES = 200_000


def main() -> None:
    digest = b""
    for number in range(LINES):
        digest = hashlib.sha256(digest).digest()
        print(f"{number:>8} of {LINES:,} lines, each told in full: {digest.hex()}")


if __name__ == "__main__":
    main()
