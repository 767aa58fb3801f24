"""Count the primes below ten million, and the twins among them, with a sieve: work for one processor."""

import argparse
from math import isqrt


def sieve(limit: int) -> bytearray:
    """Return a table whose entry for each number below `limit` (at least 2) is 1 if it is prime, else 0."""
    is_prime = bytearray([1]) * limit
    is_prime[:2] = bytes(2)
    for n in range(2, isqrt(limit) + 1):
        if is_prime[n]:
            is_prime[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return is_prime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=10_000_000, help="count the primes below this")
    limit = parser.parse_args().limit
    if limit < 3:
        parser.error("--limit must be at least 3: the first prime is 2")

    is_prime = sieve(limit)
    twins = sum(1 for n in range(limit - 2) if is_prime[n] and is_prime[n + 2])
    print(f"{is_prime.count(1):,} primes below {limit:,}, among them {twins:,} pairs of twins")
    print(f"the largest is {is_prime.rfind(1):,}")


if __name__ == "__main__":
    main()
