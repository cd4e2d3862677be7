"""Seconds that one message of 8 bytes takes through multiprocessing.Queue."""
import multiprocessing
import time

MESSAGES = 20000


def put_all(queue):
    for i in range(MESSAGES):
        queue.put(i)


if __name__ == "__main__":
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=put_all, args=(queue,))
    process.start()
    queue.get()
    start = time.perf_counter()
    for i in range(MESSAGES - 1):
        queue.get()
    print((time.perf_counter() - start) / (MESSAGES - 1))
    process.join()
