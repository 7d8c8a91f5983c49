#!/usr/bin/env python3
"""The search for the nearest among many: seconds of ours, exact and approximate, in turn with faiss's exact index.

    pip install "cxr_jax[benchmark]"
    python scripts/benchmark_search.py [--rows 1000000] [--width 256] [--k 10] [--queries 1 256] [--rounds 5]

Random unit vectors, which are already where each library wants them; medians of rounds in which all take turns.
IndexFlatIP runs as it comes, and without its BLAS from 20 queries on, which is faster where that BLAS is slow. Recall
is of faiss's k nearest. Without faiss ours are measured alone, and recall is of our exact search.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from cxr_jax.evaluation.tables import format_table
from cxr_jax.retrieval.search import Candidates

# Before faiss is loaded: threads that spin while they wait would slow down whoever's turn is next.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

Search = Callable[[np.ndarray], np.ndarray]  # queries (q, E) → rows (q, k)


def unit_vectors(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    z = rng.standard_normal((rows, width), dtype=np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z


def faiss_searches(pool: np.ndarray, k: int) -> dict[str, Search]:
    import faiss

    index = faiss.IndexFlatIP(pool.shape[1])
    index.add(pool)
    usual = faiss.cvar.distance_compute_blas_threshold

    def search(threshold: int, queries: np.ndarray) -> np.ndarray:
        faiss.cvar.distance_compute_blas_threshold = threshold
        return index.search(queries, k)[1]

    print(f"faiss {faiss.__version__}, {faiss.omp_get_max_threads()} threads")
    return {"faiss": partial(search, usual), "faiss, no BLAS": partial(search, 1 << 30)}


def measure(searches: dict[str, Search], queries: np.ndarray, rounds: int) -> tuple[dict[str, float], dict]:
    """(Median seconds, what was found), by name; all take turns."""
    found = {name: search(queries) for name, search in searches.items()}  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(rounds):
        for name, search in searches.items():
            start = time.perf_counter()
            search(queries)
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 1_000_000), ("width", 256), ("k", 10), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 256])
    parser.add_argument("--recall", type=float, default=0.95, help="what approx_max_k is asked for")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    pool = unit_vectors(rng, arguments.rows, arguments.width)
    held, k = Candidates(pool), arguments.k
    searches: dict[str, Search] = {
        "ours": lambda queries: held.top_k(queries, k)[1],
        "ours, approximate": lambda queries: held.top_k(queries, k, arguments.recall)[1],
    }
    if importlib.util.find_spec("faiss"):
        searches |= faiss_searches(pool, k)
    reference = "faiss" if "faiss" in searches else "ours"
    rows = []
    for count in arguments.queries:
        seconds, found = measure(searches, unit_vectors(rng, count, arguments.width), arguments.rounds)
        for name, took in seconds.items():
            pairs = zip(found[name], found[reference], strict=True)
            recall = np.mean([len(np.intersect1d(*pair)) / k for pair in pairs])
            rows.append([str(count), name, f"{took:.3f}", f"{took / seconds['ours']:.2f}", f"{recall:.4f}"])
    print(f"{arguments.rows:,} of {arguments.width}, the {k} nearest\n")
    print(format_table(["queries", "search", "seconds", "over ours", "recall"], rows))


if __name__ == "__main__":
    main()
