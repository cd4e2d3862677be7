"""A rival of stream.c: prints the seconds that one message of 8 bytes takes."""
import multiprocessing
import time

TIMES = 10000


def read(end):
    for _ in range(TIMES):
        end.recv_bytes()


if __name__ == "__main__":
    here, there = multiprocessing.Pipe()
    reader = multiprocessing.Process(target=read, args=(there,))
    reader.start()
    start = time.monotonic()
    for _ in range(TIMES):
        here.send_bytes(b"12345678")
    reader.join()
    print((time.monotonic() - start) / TIMES)
