"""Compress generated text at three levels with zlib, check the round trip, report the ratios."""

import random
import sys
import time
import zlib

WORDS = "the batch ran every task to its end and told us what each one took and how it went"


def main() -> None:
    text = " ".join(random.Random(3).choices(WORDS.split(), k=400_000)).encode()
    print(f"{len(text):,} bytes of text")
    for level in (1, 6, 9):
        start = time.perf_counter()
        packed = zlib.compress(text, level)
        seconds = time.perf_counter() - start
        if zlib.decompress(packed) != text:
            sys.exit(f"compress.py: level {level} did not give the text back")
        ratio = len(text) / len(packed)
        print(f"level {level}: {len(packed):7,} bytes, {ratio:.2f} to 1, in {seconds:.2f} s")


if __name__ == "__main__":
    main()
