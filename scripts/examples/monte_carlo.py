"""Estimate pi by throwing random points at a square, and say how far to trust the estimate."""

import argparse
import math
import random


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2_000_000, help="how many points to throw")
    parser.add_argument("--seed", type=int, default=1, help="the same seed throws the same points")
    options = parser.parse_args()
    if options.samples < 1:
        parser.error("--samples must be at least 1")

    throw = random.Random(options.seed).random
    hits = sum(1 for _ in range(options.samples) if throw() ** 2 + throw() ** 2 < 1)
    share = hits / options.samples
    pi = 4 * share
    standard_error = 4 * math.sqrt(share * (1 - share) / options.samples)
    print(f"pi is about {pi:.5f}, give or take {standard_error:.5f}; it is off by {abs(pi - math.pi):.5f}")


if __name__ == "__main__":
    main()
