"""The rival of map.c: prints the seconds that one operation takes. map.py PERCENT_OF_READS"""
import multiprocessing
import random
import sys
import time

PROCESSES, KEYS, TIMES = 8, 10000, 250


def work(shared, seed, reads, start, done):
    rng = random.Random(seed)
    keys = rng.choices(range(KEYS), weights=[1 / (i + 1) ** 0.99 for i in range(KEYS)], k=TIMES)
    value = b"v" * 100
    start.wait()
    for key in keys:
        if rng.randrange(100) < reads:
            shared[key]
        else:
            shared[key] = value
    done.wait()


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared = manager.dict({key: b"v" * 100 for key in range(KEYS)})
        start, done = multiprocessing.Barrier(PROCESSES + 1), multiprocessing.Barrier(PROCESSES + 1)
        processes = [
            multiprocessing.Process(target=work, args=(shared, i, int(sys.argv[1]), start, done)) for i in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        start.wait()
        began = time.monotonic()
        done.wait()
        print((time.monotonic() - began) / (PROCESSES * TIMES))
        for process in processes:
            process.join()
