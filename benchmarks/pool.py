"""The rival of pool.c: prints the seconds that one task takes."""
import multiprocessing
import time

TASKS = 5000


def square(x):
    return x * x


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        start = time.monotonic()
        pool.map(square, range(TASKS), chunksize=1)
        print((time.monotonic() - start) / TASKS)
