"""What a data set's splits hold, and what leaks between them: counted over studies, as retrieval is."""

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.data import copies, images
from cxr_jax.data.grey import FLAT, kind_of
from cxr_jax.data.looks import doubts_of, looks_of
from cxr_jax.data.notes import Note
from cxr_jax.data.pipeline import Split
from cxr_jax.data.splits import near_copies
from cxr_jax.evaluation import checks
from cxr_jax.evaluation.retrieval_metrics import instance_ceiling, random_chance, tied_chance
from cxr_jax.retrieval.rows import first_rows

RANKS = (1, 5, 10)
FINDINGS_SHOWN = 20
LITTLE = 10.0  # grey levels of standard deviation: the least of 1,564 real radiographs is 11.5


class Pixels(NamedTuple):
    """What looking at every stored image of a split tells."""

    digests: list[str]  # equal for equal pixels
    doubts: dict[str, list[str]]  # of a check of `checks.CHECKS` the ids of images
    sides: np.ndarray  # (n, 2) height and width as stored
    sketches: np.ndarray  # (n, S), see `copies.sketch`


def audit(
    splits: Mapping[str, Split],
    notes: Sequence[Note] = (),
    tokens: Mapping[str, checks.Tokens] | str = "no tokenizer",
    max_tokens: int = 0,
) -> dict[str, Any]:
    """What splits hold and share, by name; `audit_tables` puts it into words.

    Args:
      notes: of the source, see `cxr_jax.data.notes`.
      tokens, max_tokens: see `checks.of_reports`.

    Returns:
      "checks": {name of `checks.CHECKS`: {"count", "of", "examples"}}.
      "splits": {split: {"images", "studies", "patients", "distinct_reports", "words": [5 %, median, 95 %], "normal":
        share of studies that the source calls normal, None where it calls none so}}.
      "leaks": {"val" | "test": counts of that split's studies, patients and images that training has too: "exact" and
        "near" of reports, "patients", "studies", "images" of equal pixels, "copies" of images that look the same
        (`cxr_jax.data.copies`, the former among them), each beside its "of"}.
      "ceilings": {split: {k: the best instance recall@k that a system can expect, see `instance_ceiling`}}; "chances":
        {split: {"random" | "tied": {k: recall@k, image to report, of `random_chance` and `tied_chance`}}}.
      "findings": {finding: {split: share of studies}}, the most frequent in training first.
      "doubtful_images": {split: {check: image ids}}; "stored_sides": {split: [least, median, greatest] short side in
        pixels}.
      "image_warnings": {split: {"images": how many were read with one, "kinds": {kind: how many images}, "listed":
        [[image id, warning], …], all of them}}, see `cxr_jax.data.grey.Picture`.
      "source_notes": [{"what", "count", "examples", "check"}, …]: `notes`, what was read otherwise than the source has
        it.
    """
    first = {name: first_rows(split.study_ids) for name, split in splits.items()}
    looked = {name: _look(split) for name, split in splits.items()}
    labels = {name: [splits[name].labels[i] for i in rows] for name, rows in first.items()}
    says_normal = any(any(split.normal) for split in splits.values())
    shares = {name: Counter(finding for study in labels[name] for finding in study) for name in splits}
    leaks = _leaks(splits, first, looked)
    frequent = sorted(shares["train"], key=lambda finding: (-shares["train"][finding], finding))
    found = _of_images(splits, looked) | _of_leaks(leaks, splits, first)
    found |= checks.of_reports(splits, tokens, max_tokens) | checks.of_source(notes)
    return {
        "checks": {name: dataclasses.asdict(found[name]) for name in checks.CHECKS},
        "splits": {
            name: {
                "images": len(split),
                "studies": len(first[name]),
                "patients": len(set(split.patient_ids)),
                "distinct_reports": len({int(split.group_ids[i]) for i in first[name]}),
                "words": np.percentile([len(split.reports[i].split()) for i in first[name]], [5, 50, 95]).tolist(),
                "normal": sum(split.normal[i] for i in first[name]) / len(first[name]) if says_normal else None,
            }
            for name, split in splits.items()
        },
        "leaks": {
            name: {kind: len(found) for kind, found in of_split.items()} | _sizes(splits[name], first[name])
            for name, of_split in leaks.items()
        },
        "ceilings": {
            name: {k: float(instance_ceiling(rows, splits[name].group_ids[rows], k).mean()) for k in RANKS}
            for name, rows in first.items()
        },
        "chances": {
            name: {
                order: {k: float(chance(splits[name].group_ids, splits[name].group_ids[rows], k).mean()) for k in RANKS}
                for order, chance in (("random", random_chance), ("tied", tied_chance))
            }
            for name, rows in first.items()
        },
        "findings": {
            finding: {name: shares[name][finding] / len(first[name]) for name in splits}
            for finding in frequent[:FINDINGS_SHOWN]
        },
        "doubtful_images": {name: pixels.doubts for name, pixels in looked.items()},
        "stored_sides": {
            name: np.percentile(pixels.sides.min(axis=1), [0, 50, 100]).tolist() for name, pixels in looked.items()
        },
        "image_warnings": {name: _warnings(split) for name, split in splits.items()},
        "source_notes": [dataclasses.asdict(note) for note in notes],
    }


def _look(split: Split) -> Pixels:
    digests, sides, sketches = [], [], []
    doubts: dict[str, list[str]] = {}
    for row in range(len(split)):
        image = images.decode(split.encoded_image(row))
        digests.append(hashlib.blake2b(image.tobytes() + str(image.shape).encode(), digest_size=16).hexdigest())
        sides.append(image.shape)
        sketches.append(copies.sketch(image))
        for doubt in _doubts(image, split.views[row] == "lateral"):
            doubts.setdefault(doubt, []).append(split.image_ids[row])
    return Pixels(digests, doubts, np.array(sides), np.array(sketches))


def _doubts(image: np.ndarray, lateral: bool) -> list[str]:
    spread = image.std()
    if spread < FLAT:
        return ["blank_images"]
    doubts = [f"{doubt.replace(' ', '_')}_images" for doubt in doubts_of(looks_of(image), lateral)]
    return [*doubts, "flat_images"] if spread < LITTLE else doubts


def _of_images(splits: Mapping[str, Split], looked: Mapping[str, Pixels]) -> dict[str, checks.Check]:
    count = sum(len(split) for split in splits.values())
    result = {
        name: checks.found_check([image for pixels in looked.values() for image in pixels.doubts.get(name, [])], count)
        for name, (_, of, _) in checks.CHECKS.items()
        if of == checks.IMAGES
    }
    warned = [image for split in splits.values() for image in split.image_ids if split.warnings.get(image)]
    unreadable = [image for split in splits.values() for image in split.unreadable]
    return result | {
        "warned_images": checks.found_check(warned, count),
        "unreadable_images": checks.found_check(unreadable, count + len(unreadable)),
    }


def _warnings(split: Split) -> dict[str, Any]:
    listed = [(image, warning) for image in split.image_ids for warning in split.warnings.get(image, ())]
    kinds = Counter(kind for _, kind in dict.fromkeys((image, kind_of(warning)) for image, warning in listed))
    return {
        "images": len({image for image, _ in listed}),
        "kinds": dict(kinds.most_common()),
        "listed": [list(line) for line in listed],
    }


def _leaks(
    splits: Mapping[str, Split], first: Mapping[str, np.ndarray], looked: Mapping[str, Pixels]
) -> dict[str, dict[str, list[str]]]:
    """For each split but train, which of its studies, patients and images have a twin in train."""
    names = list(splits)
    texts = [splits[name].reports[i] for name in names for i in first[name]]
    ends = np.cumsum([0, *(len(first[name]) for name in names)])
    clusters = np.asarray(near_copies(texts))
    near = {name: clusters[ends[i] : ends[i + 1]] for i, name in enumerate(names)}
    train, rows, train_pixels = splits["train"], first["train"], set(looked["train"].digests)
    studies, patients = set(train.study_ids), set(train.patient_ids)
    leaks = {}
    for name in names:
        if name == "train":
            continue
        split = splits[name]
        own = [split.study_ids[i] for i in first[name]]
        copied = sorted({row for row, _ in copies.copies(looked[name].sketches, looked["train"].sketches)})
        exact = np.isin(split.group_ids[first[name]], train.group_ids[rows])
        leaks[name] = {
            "exact": list(itertools.compress(own, exact)),
            "near": list(itertools.compress(own, np.isin(near[name], near["train"]))),
            "studies": [study for study in own if study in studies],
            "patients": [patient for patient in dict.fromkeys(split.patient_ids) if patient in patients],
            "images": [
                image
                for image, digest in zip(split.image_ids, looked[name].digests, strict=True)
                if digest in train_pixels
            ],
            "copies": [split.image_ids[row] for row in copied],
        }
    return leaks


def _sizes(split: Split, first: np.ndarray) -> dict[str, int]:
    return {"of_studies": len(first), "of_patients": len(set(split.patient_ids)), "of_images": len(split)}


def _of_leaks(
    leaks: Mapping[str, Mapping[str, list[str]]], splits: Mapping[str, Split], first: Mapping[str, np.ndarray]
) -> dict[str, checks.Check]:
    sizes = [_sizes(splits[name], first[name]) for name in leaks]
    of = {"exact": "studies", "near": "studies", "copies": "images"}
    names = {
        "exact": "equal_reports",
        "near": "near_copies",
        "studies": "shared_studies",
        "patients": "shared_patients",
        "images": "shared_images",
        "copies": "copied_images",
    }
    return {
        name: checks.found_check(
            [example for of_split in leaks.values() for example in of_split[kind]],
            sum(size[f"of_{of.get(kind, kind)}"] for size in sizes),
        )
        for kind, name in names.items()
    }
