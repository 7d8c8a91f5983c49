"""What a data set's splits hold, and what leaks between them: counted over studies, as retrieval is."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.data import images
from cxr_jax.data.grey import FLAT, kind_of
from cxr_jax.data.notes import Note
from cxr_jax.data.pipeline import Split
from cxr_jax.data.splits import near_copies
from cxr_jax.evaluation.retrieval_metrics import instance_ceiling, random_chance, tied_chance
from cxr_jax.evaluation.tables import Table
from cxr_jax.labels.rules import is_read
from cxr_jax.retrieval.store import first_rows

RANKS = (1, 5, 10)
FINDINGS_SHOWN = 20
EXAMPLES = 3  # of images a kind of warning, in a table; the result has all


class Pixels(NamedTuple):
    """What looking at every stored image of a split tells."""

    digests: list[str]  # equal for equal pixels
    blank: list[str]  # ids of images that show next to nothing
    sides: np.ndarray  # (n, 2) height and width as stored


def audit(splits: Mapping[str, Split], notes: Sequence[Note] = ()) -> dict[str, Any]:
    """What splits hold and share, by name; `audit_tables` puts it into words.

    Returns:
      "splits": {split: {"images", "studies", "patients", "distinct_reports", "words": [5 %, median, 95 %], "normal":
        share of studies that the source calls normal, None where it calls none so}}.
      "leaks": {"val" | "test": counts of that split's studies, patients and images that training has too: "exact" and
        "near" of reports, "patients", "studies", "images", each beside its "of"}.
      "ceilings": {split: {k: the best instance recall@k that a system can expect, see `instance_ceiling`}}; "chances":
        {split: {"random" | "tied": {k: recall@k, image to report, of `random_chance` and `tied_chance`}}}.
      "findings": {finding: {split: share of studies}}, the most frequent in training first.
      "blank_images": {split: image ids}; "stored_sides": {split: [least, median, greatest] short side in pixels}.
      "image_warnings": {split: {"images": how many were read with one, "kinds": {kind: how many images}, "listed":
        [[image id, warning], …], all of them}}, see `cxr_jax.data.grey.Picture`.
      "unread_reports": {split: study ids}, of reports that the rule labeller reads nothing in (`labels.rules.is_read`).
      "source_notes": [{"what", "count", "examples"}, …]: `notes`, what was read otherwise than the source has it.
    """
    first = {name: first_rows(split.study_ids) for name, split in splits.items()}
    looked = {name: _look(split) for name, split in splits.items()}
    labels = {name: [splits[name].labels[i] for i in rows] for name, rows in first.items()}
    says_normal = any(any(split.normal) for split in splits.values())
    shares = {name: Counter(finding for study in labels[name] for finding in study) for name in splits}
    frequent = sorted(shares["train"], key=lambda finding: (-shares["train"][finding], finding))
    return {
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
        "leaks": _leaks(splits, first, looked),
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
        "blank_images": {name: pixels.blank for name, pixels in looked.items()},
        "stored_sides": {
            name: np.percentile(pixels.sides.min(axis=1), [0, 50, 100]).tolist() for name, pixels in looked.items()
        },
        "image_warnings": {name: _warnings(split) for name, split in splits.items()},
        "unread_reports": {
            name: [splits[name].study_ids[i] for i in rows if not is_read(splits[name].reports[i])]
            for name, rows in first.items()
        },
        "source_notes": [dataclasses.asdict(note) for note in notes],
    }


def _look(split: Split) -> Pixels:
    digests, blank, sides = [], [], []
    for row in range(len(split)):
        image = images.decode(split.encoded_image(row))
        digests.append(hashlib.blake2b(image.tobytes() + str(image.shape).encode(), digest_size=16).hexdigest())
        sides.append(image.shape)
        if image.std() < FLAT:
            blank.append(split.image_ids[row])
    return Pixels(digests, blank, np.array(sides))


def _warnings(split: Split) -> dict[str, Any]:
    listed = [(image, warning) for image in split.image_ids for warning in split.warnings.get(image, ())]
    kinds = Counter(kind for _, kind in dict.fromkeys((image, kind_of(warning)) for image, warning in listed))
    return {
        "images": len({image for image, _ in listed}),
        "kinds": dict(kinds.most_common()),
        "listed": [list(line) for line in listed],
    }


def _examples(warnings: Mapping[str, Any], kind: str) -> str:
    own = [
        f"{image} ({warning.partition(': ')[2]})" for image, warning in warnings["listed"] if kind_of(warning) == kind
    ]
    return "; ".join(own[:EXAMPLES]) + ("; …" if len(own) > EXAMPLES else "")


def _leaks(
    splits: Mapping[str, Split], first: Mapping[str, np.ndarray], looked: Mapping[str, Pixels]
) -> dict[str, dict[str, int]]:
    """For each split but train, how many of its studies, patients and images have a twin in train."""
    names = list(splits)
    texts = [splits[name].reports[i] for name in names for i in first[name]]
    ends = np.cumsum([0, *(len(first[name]) for name in names)])
    clusters = np.asarray(near_copies(texts))
    near = {name: clusters[ends[i] : ends[i + 1]] for i, name in enumerate(names)}
    train, rows, train_pixels = splits["train"], first["train"], set(looked["train"].digests)
    leaks = {}
    for name in names:
        if name == "train":
            continue
        split = splits[name]
        leaks[name] = {
            "exact": int(np.isin(split.group_ids[first[name]], train.group_ids[rows]).sum()),
            "near": int(np.isin(near[name], near["train"]).sum()),
            "studies": len(set(split.study_ids) & set(train.study_ids)),
            "of_studies": len(first[name]),
            "patients": len(set(split.patient_ids) & set(train.patient_ids)),
            "of_patients": len(set(split.patient_ids)),
            "images": sum(digest in train_pixels for digest in looked[name].digests),
            "of_images": len(split),
        }
    return leaks


def audit_tables(result: Mapping[str, Any]) -> dict[str, Table]:
    """The audit as titled tables of text."""
    splits, leaks = result["splits"], result["leaks"]
    sizes = [
        (
            name,
            *(f"{row[key]:,}" for key in ("images", "studies", "patients", "distinct_reports")),
            " / ".join(f"{words:.0f}" for words in row["words"]),
            "-" if row["normal"] is None else f"{row['normal']:.0%}",
            " / ".join(f"{side:.0f}" for side in result["stored_sides"][name]),
            f"{len(result['blank_images'][name]):,}",
            f"{result['image_warnings'][name]['images']:,}",
        )
        for name, row in splits.items()
    ]
    kinds = {
        "exact": ("reports that stand in train word for word", "of_studies"),
        "near": ("reports with a near-copy in train (chains of ≥ 90 % of words)", "of_studies"),
        "studies": ("studies that are in train too", "of_studies"),
        "patients": ("patients that are in train too", "of_patients"),
        "images": ("images whose pixels are in train too", "of_images"),
    }
    recall = [
        row
        for name, chances in result["chances"].items()
        for row in (
            (f"{name}, by group: chance", chances["random"]),
            (f"{name}, by group: chance, equal reports tied", chances["tied"]),
            (f"{name}, by instance: ceiling", result["ceilings"][name]),
        )
    ]
    crossing = [
        (text, *(f"{row[kind]:,} of {row[of]:,} ({row[kind] / row[of]:.1%})" for row in leaks.values()))
        for kind, (text, of) in kinds.items()
    ]
    return {
        "Splits": Table(
            ("split", "images", "studies", "patients", "distinct reports", "words 5 / 50 / 95 %", "normal",
             "short side px min / median / max", "blank images", "read with a warning"),
            sizes,
        ),
        "Read otherwise than it was written": Table(
            ("how many", "what", "for example"),
            [
                (f"{note['count']:,}" if note["count"] else "-", note["what"], ", ".join(note["examples"]))
                for note in result["source_notes"]
            ],
        ),
        "Reports in which the rule labeller reads nothing": Table(
            ("split", "studies", "for example"),
            [
                (name, f"{len(studies):,}", ", ".join(studies[:EXAMPLES]))
                for name, studies in result["unread_reports"].items()
                if studies
            ],
        ),
        "Images read with a warning": Table(
            ("split", "what", "images", "for example"),
            [
                (name, kind, f"{count:,}", _examples(warnings, kind))
                for name, warnings in result["image_warnings"].items()
                for kind, count in warnings["kinds"].items()
            ],
        ),
        "What training has already seen": Table(("", *leaks), crossing),
        "Recall within reach, image → report, for reports repeat": Table(
            ("", *(f"@{k}" for k in RANKS)), [(what, *(f"{row[k]:.3f}" for k in RANKS)) for what, row in recall]
        ),
        "Findings, share of studies": Table(
            ("finding", *splits),
            [(finding, *(f"{row[name]:.1%}" for name in splits)) for finding, row in result["findings"].items()],
        ),
    }  # fmt: skip
