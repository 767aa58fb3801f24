"""Add up three orders, one of which is malformed: this script fails, on purpose, with exit code 3."""

import sys

ORDERS = """\
1001;bolts;250
1002;nuts;a dozen
1003;washers;75
"""
MALFORMED = 3


def main() -> None:
    total = 0
    for number, line in enumerate(ORDERS.splitlines(), start=1):
        order, item, quantity = line.split(";")
        try:
            total += int(quantity)
        except ValueError:
            print(f"fails.py: line {number}: {quantity!r} is not a number of {item}", file=sys.stderr)
            sys.exit(MALFORMED)
        print(f"order {order}: {quantity} {item}")
    print(f"{total} pieces in all")


if __name__ == "__main__":
    main()
