#!/usr/bin/env python3
"""Requests to a running server, good ones and malformed ones: errors, latency, and the server's memory.

    python -m cxr_jax.serve --workdir runs/phantom --port 8000 &
    python scripts/benchmark_serve.py --images FOLDER [--requests 1000] [--clients 8] [--malformed 500]

Each client asks for one report after the other, on a connection that it keeps. Malformed uploads are images with bytes
changed or cut off, forms that are none, and noise; while they are sent two clients go on with good ones. Each must be
answered by a 4xx and one line of JSON, or, where what was changed does no harm, by a report. Memory is that of the
server's process and of its decoders (PSS, so that what they share counts once), where it runs on this machine.
"""

import argparse
import http.client
import json
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cxr_jax.data import folders
from cxr_jax.evaluation.tables import format_table

BOUNDARY = "0d8a3e5f"


def form(data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


class Client:
    """One client, on a connection that it keeps."""

    def __init__(self, host: str, port: int):
        self.connection = http.client.HTTPConnection(host, port, timeout=120)

    def ask(self, body: bytes) -> tuple[int, bytes]:
        """Status and answer; a server closes the connection after some refusals, and it is opened again."""
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        try:
            self.connection.request("POST", "/api/report", body, kind)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError) as error:
            self.connection.close()
            return 0, type(error).__name__.encode()


def malformed(rng: random.Random, images: list[bytes]) -> bytes:
    data = bytearray(rng.choice(images))
    kind = rng.randrange(6)
    if kind == 0:
        data = data[: rng.randrange(len(data))]
    elif kind == 1:
        for _ in range(rng.randrange(1, 40)):
            data[rng.randrange(min(len(data), 2048))] = rng.randrange(256)
    elif kind == 2:
        data = bytearray(rng.randbytes(rng.randrange(1, 5000)))
    elif kind == 3:
        data = data[:8] + rng.randbytes(300) + data[8:]
    elif kind == 4:
        return form(bytes(data))[: rng.randrange(60, 200)]
    else:
        data = bytearray()
    return form(bytes(data))


def memory(pid: int) -> float:
    """MiB of a process and its children."""
    children = [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    lines = [Path(f"/proc/{p}/smaps_rollup").read_text() for p in (pid, *map(int, children))]
    return sum(int(line.split("\nPss:")[1].split()[0]) for line in lines) / 1024


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--malformed", type=int, default=500)
    parser.add_argument("--pid", type=int, default=0, help="the server's process, for its memory")
    arguments = parser.parse_args(argv)
    images = [file.read_bytes() for file in folders.image_files(arguments.images)[:200]]
    rows, wrong = [], Counter()

    def run(name: str, bodies: list[bytes], clients: int, allowed: tuple[int, ...]) -> None:
        times: list[float] = []
        statuses: Counter[int] = Counter()

        def work(number: int) -> None:
            client = Client(arguments.host, arguments.port)
            for body in bodies[number::clients]:
                start = time.perf_counter()
                status, answer = client.ask(body)
                times.append(time.perf_counter() - start)
                statuses[status] += 1
                one_line = answer.endswith(b"\n") and answer.count(b"\n") == 1 and isinstance(json.loads(answer), dict)
                if status not in allowed or not one_line:
                    wrong[f"{name}: {status} {answer[:80]!r}"] += 1

        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(work, range(clients)))
        wall = time.perf_counter() - start
        p50, p95, p99 = 1000 * np.quantile(times, [0.5, 0.95, 0.99])
        counts = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        used = f"{memory(arguments.pid):.0f}" if arguments.pid else ""
        numbers = [f"{len(bodies) / wall:.0f}", *(f"{value:.0f}" for value in (p50, p95, p99))]
        rows.append([name, str(len(bodies)), str(clients), *numbers, used, counts])

    rng = random.Random(0)
    good = [form(rng.choice(images)) for _ in range(arguments.requests)]
    run("before", good[:64], arguments.clients, (200,))
    run("reports", good, arguments.clients, (200,))
    bad = [malformed(rng, images) for _ in range(arguments.malformed)]
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda task: run(*task), [
            ("malformed", bad, 4, (200, 400, 408, 413, 415, 422)), ("good meanwhile", good[: len(bad)], 2, (200,)),
        ]))  # fmt: skip
    run("reports again", good, arguments.clients, (200,))
    columns = ["", "requests", "clients", "a second", "p50 ms", "p95 ms", "p99 ms", "MiB after", "statuses"]
    print(format_table(columns, rows))
    for what, count in wrong.most_common(20):
        print(f"{count} times {what}", file=sys.stderr)
    return min(1, sum(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
