#!/usr/bin/env python3
"""What a run's checks before a draft find: pictures that are no chest, turned ones, radiographs of another set.

    python scripts/benchmark_silence.py --workdir RUN [--foreign FOLDER|TABLE] [--images 200] [--out FILE.json]

Test images, as they are and turned, and other pictures (scripts/other_pictures.py) go the same way: a thumbnail of
them, as the index keeps it, is what is measured and embedded. Of each measure the table has the AUROC against the test
images as they are, and the share that is found where 95 % of the validation split is kept; `all` is all measures at
once, by the lowest of their ranks in the validation split. The last column is the share that has a warning by the run's
own limits.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from other_pictures import KINDS

import cxr_jax
from cxr_jax.data import images
from cxr_jax.data.inputs import read_inputs
from cxr_jax.data.notes import Notes
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.zero_shot import Ranking
from cxr_jax.export.folder import open_folder
from cxr_jax.retrieval.abstention import UNCHECKED, evenly, measures_of, reasons, thumbnails
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.store import SplitIndex

KEPT = 0.95
SIDE = 256  # of other pictures, before they become thumbnails
TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda picture: picture,
    "upside down": lambda picture: picture[::-1],
    "turned by 90°": np.rot90,
    "mirrored": lambda picture: picture[:, ::-1],
    "inverted": lambda picture: 255 - picture,
}


def foreign_pictures(given: Path, count: int) -> list[np.ndarray]:
    """Of a folder or a table as `cxr_jax.embed` reads it, evenly spread; raises an InputError without images."""
    files = [file for file in read_inputs(given, "both", {}, None, Notes()).images or [] if file is not None]
    if not files:
        raise InputError(f"--foreign {given}: names no image; give a folder, or a table with a column image")
    return [images.read(files[row]).grey for row in evenly(len(files), count)]


def measured(model: Model, pictures: Iterable[np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """{measure: float (n,)} of pictures, the nearest report's cosine among them; and which are warned of."""
    assert model.checks is not None
    small = [images.decode(images.thumbnail(np.ascontiguousarray(picture))) for picture in pictures]
    squares = [images.fit_square(picture, model.config["image_size"]) for picture in small]
    z = model.encode_image(squares)
    neighbours = model.neighbours(z)
    found = model.checks.gauge.measures(squares, z, model.drafter.agreement(neighbours))
    warned = np.array([bool(lines) for lines in reasons(found, model.checks.limits)])
    return {**found._asdict(), "similarity": neighbours.similarity[:, 0].astype(np.float64)}, warned


def ranks(val: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> np.ndarray:
    """The lowest rank of each picture in the validation split by any measure: the share that is lower, equals half."""
    of_each = []
    for name, values in given.items():
        ordered = np.sort(val[name])
        below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
        of_each.append((below + upto) / (2 * len(ordered)))
    return np.min(of_each, axis=0)


def auroc(low: np.ndarray, high: np.ndarray) -> float:
    """How often one of `low` is lower than one of `high`, ties counting half."""
    truth = np.repeat([False, True], [len(low), len(high)])
    return float(Ranking(truth, np.concatenate([low, high])).scores(np.ones((len(truth), 1)))[0][0])


def benchmark(model: Model, val: SplitIndex, test: SplitIndex, foreign: list[np.ndarray], count: int) -> dict[str, Any]:
    """{kind of picture: {"n", measure: {"auroc", "found"}, "warned"}}."""
    assert model.checks is not None
    val = val.take(evenly(len(val), 2000))
    nearest = model.neighbours(np.asarray(val.image_embeddings)).similarity[:, 0]
    of_val = measures_of(val, model.pool, model.checks.gauge, model.scale)._asdict()
    of_val["similarity"] = nearest.astype(np.float64)
    lowest = {name: float(np.quantile(values, 1 - KEPT, method="lower")) for name, values in of_val.items()}
    of_val_all = ranks(of_val, of_val)
    lowest["all"] = float(np.quantile(of_val_all, 1 - KEPT, method="lower"))
    own = list(thumbnails(test, evenly(len(test), count)))
    rng = np.random.default_rng(0)
    kinds = {name: [turn(picture) for picture in own] for name, turn in TURNS.items()}
    kinds |= {name: [make(SIDE, rng) for _ in range(count)] for name, make in KINDS.items()}
    kinds |= {"foreign": foreign} if foreign else {}
    results: dict[str, Any] = {}
    own_values: dict[str, np.ndarray] = {}
    for kind, pictures in kinds.items():
        values, warned = measured(model, pictures)
        values["all"] = ranks(of_val, values)
        own_values = own_values or values
        results[kind] = {"n": len(pictures), "warned": float(warned.mean())} | {
            name: {"auroc": auroc(of, own_values[name]), "found": float((of < lowest[name]).mean())}
            for name, of in values.items()
        }
    return results


def table(results: dict[str, Any]) -> str:
    """Markdown: AUROC / share found, by kind and measure."""
    names = [name for name in next(iter(results.values())) if name not in ("n", "warned")]
    lines = [f"| | n | {' | '.join(names)} | warned of |", "|" + "---|" * (len(names) + 3)]
    for kind, row in results.items():
        cells = [f"{row[name]['auroc']:.3f} / {row[name]['found']:.2f}" for name in names]
        lines.append(f"| {kind} | {row['n']} | {' | '.join(cells)} | {row['warned']:.2f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a run's folder")
    parser.add_argument("--foreign", type=Path, metavar="FOLDER|TABLE", help="radiographs of another kind")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="of each kind (200)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the figures go as well")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    index = open_folder(arguments.workdir).index
    val, test = (SplitIndex.load(index, split) for split in ("val", "test"))
    foreign = foreign_pictures(arguments.foreign, arguments.images) if arguments.foreign else []
    model = cxr_jax.load(arguments.workdir)
    if model.checks is None:
        raise InputError(f"--workdir {arguments.workdir}: images are {UNCHECKED}")
    results = benchmark(model, val, test, foreign, arguments.images)
    print(table(results))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
