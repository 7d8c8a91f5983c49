#!/usr/bin/env python3
"""The methods of drafting on real reports, with neighbours of a known quality: no image and no model.

    python scripts/compare_drafts.py --annotation annotation.json [--noise 0 1 2 4] [--seed 0]

The neighbours of a test study are the training reports nearest to its *true* text, by latent semantic analysis (TF-IDF
of words and pairs of words, 256 dimensions), the true text's vector being disturbed by Gaussian noise of so many times
its own length: 0 is a perfect image encoder, and much of it one that is blind. Reports equal to the true one are
barred, as in the ceiling; the method `sentences` searches all sentences, theirs too. Thresholds are chosen on the
validation split, at each noise anew.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from cxr_jax.data.reports import normalize_report
from cxr_jax.errors import ArgumentParser, run_command
from cxr_jax.evaluation.bootstrap import sample_and_resamples
from cxr_jax.evaluation.comparison import difference
from cxr_jax.evaluation.text_metrics import ReportScorer, resampled_scores
from cxr_jax.labels.priors import speaks_of_prior
from cxr_jax.labels.statements import contradictions
from cxr_jax.retrieval.draft import METHODS, NEIGHBOURS, Drafter, Neighbours, SentencePool
from cxr_jax.retrieval.voting import Thresholds

WIDTH = 256
SCALE = 20.0  # 1/τ of the vote
EMPTY = "."  # stands for a draft that says nothing


class Space:
    """Latent semantic analysis of a pool's reports."""

    def __init__(self, reports: Sequence[str]):
        terms: dict[str, int] = {}
        counts = self._counts(reports, terms, grow=True)
        self._terms, self._idf = terms, np.log(len(reports) / (1 + np.asarray((counts > 0).sum(axis=0)).ravel())) + 1
        _, sizes, directions = sparse.linalg.svds(self._weighted(counts), WIDTH, random_state=0)
        # In an order and of signs that are always the same: the noise is added to these coordinates.
        directions = directions[np.argsort(-sizes, kind="stable")]
        largest = np.abs(directions).argmax(axis=1)
        self._directions = (directions * np.sign(directions[np.arange(WIDTH), largest])[:, None]).T

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (n, WIDTH), unit norm."""
        z = self._weighted(self._counts(texts, self._terms)) @ self._directions
        return (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    def _weighted(self, counts: Any) -> Any:
        weighted = sparse.csr_matrix(counts.multiply(self._idf))
        norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        return sparse.diags(1 / np.maximum(norms, 1e-9)) @ weighted

    @staticmethod
    def _counts(texts: Sequence[str], terms: dict[str, int], grow: bool = False) -> Any:
        rows, columns = [], []
        for row, text in enumerate(texts):
            words = normalize_report(text).split()
            for term in {*words, *map(" ".join, pairwise(words))}:
                if grow or term in terms:
                    rows.append(row)
                    columns.append(terms.setdefault(term, len(terms)))
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), len(terms)))


def neighbours(z: np.ndarray, targets: np.ndarray, k: int, barred: np.ndarray | None = None) -> Neighbours:
    """The k nearest targets of each vector, but those barred, bool (n, targets)."""
    similarity = z @ targets.T
    if barred is not None:
        similarity[barred] = -2
    rows = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return Neighbours(rows, np.take_along_axis(similarity, rows, 1))


def measure(reports: dict[str, list[str]], noises: Sequence[float], seed: int) -> list[dict[str, Any]]:
    """A row a noise and method: scores, their differences from top1's by paired bootstrap, and what a text is like."""
    train, test = reports["train"], reports["test"]
    space, pool, scorer = Space(train), SentencePool(train, range(len(train))), ReportScorer(test, "r2gen", train)
    z_train, z_sentences = space.embed(train), space.embed(pool.texts)
    known = np.array([normalize_report(report) for report in train])
    weights = sample_and_resamples(len(test), None, 1000, 0)
    results = []
    for noise in noises:
        found = {}
        for number, name in enumerate(("val", "test")):
            z = space.embed(reports[name])
            z = z + noise * np.random.default_rng([seed, number]).normal(size=z.shape) / np.sqrt(WIDTH)
            z /= np.linalg.norm(z, axis=1, keepdims=True)
            barred = np.array([known == normalize_report(report) for report in reports[name]])
            found[name] = z, neighbours(z, z_train, NEIGHBOURS, barred)
        drafter = Drafter(train, SCALE)
        drafter.thresholds = Thresholds.chosen(drafter.votes(found["val"][1]), reports["val"])
        z, nearest = found["test"]
        of_top1 = None
        for method in METHODS:
            drafts = drafter.drafts(method, nearest, pool, neighbours(z, z_sentences, NEIGHBOURS))
            texts = [draft.text or EMPTY for draft in drafts]
            values = resampled_scores(scorer.statistics(texts), weights).T
            of_top1 = values if of_top1 is None else of_top1
            results.append(
                {
                    "noise": noise,
                    "method": method,
                    "scores": dict(zip(scorer.names, values[:, 0].tolist(), strict=True)),
                    "difference": {
                        name: difference(own - first)
                        for name, own, first in zip(scorer.names, values, of_top1, strict=True)
                    },
                    "contradictions": float(np.mean([bool(contradictions(text)) for text in texts])),
                    "priors": float(np.mean(list(map(speaks_of_prior, texts)))),
                    "words": float(np.mean([len(text.split()) for text in texts])),
                }
            )
    return results


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown; beside a score its difference from top1's, in brackets where its 95 % interval holds 0."""
    shown = ("bleu_1", "bleu_4", "rouge_l", "rule_f1_micro", "rule_f1_macro")
    lines = [f"| noise | method | {' | '.join(shown)} | contradict themselves | name a prior | words |"]
    lines.append("|" + "---|" * (len(shown) + 5))
    for row in results:
        cells = []
        for name in shown:
            low, high = row["difference"][name]["interval"]
            change = f"{row['difference'][name]['difference']:+.3f}"
            change = "" if row["method"] == METHODS[0] else f" {f'({change})' if low <= 0 <= high else change}"
            cells.append(f"{row['scores'][name]:.3f}{change}")
        rest = f"{row['contradictions']:.3f} | {row['priors']:.3f} | {row['words']:.1f}"
        lines.append(f"| {row['noise']:g} | `{row['method']}` | {' | '.join(cells)} | {rest} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotation", required=True, type=Path, metavar="FILE", help="R2Gen's annotation.json")
    parser.add_argument("--noise", nargs="+", type=float, default=(0.0, 1.0, 2.0, 4.0), metavar="X", help="(0 1 2 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    content = json.loads(arguments.annotation.read_text(encoding="utf-8"))
    reports = {split: [entry["report"] for entry in content[split]] for split in ("train", "val", "test")}
    print(table(measure(reports, arguments.noise, arguments.seed)))


if __name__ == "__main__":
    run_command(main)
