"""What the audit counts, on data whose faults are planted, and on R2Gen's published split."""

import dataclasses

import numpy as np
import pytest

from cxr_jax.data import images, reports
from cxr_jax.data.pipeline import Split
from cxr_jax.data.sources.annotation import r2gen_split
from cxr_jax.data.sources.openi_release import read_studies
from cxr_jax.evaluation.audit import audit
from cxr_jax.evaluation.audit_tables import audit_tables


def split_of(name, texts, pixels=None, patients=None, labels=None, normal=None, groups=None):
    count = len(texts)
    pixels = pixels or [np.random.default_rng([len(name), i]).integers(0, 255, (8, 9), np.uint8) for i in range(count)]
    return Split(
        name=name,
        source=[{"image": images.encode_png(image)} for image in pixels],
        record=np.arange(count),
        image_ids=[f"{name}{i}.png" for i in range(count)],
        study_ids=[f"{name}{i}" for i in range(count)],
        views=[""] * count,
        patient_ids=patients or [f"{name}-patient{i}" for i in range(count)],
        reports=list(texts),
        sections=[(text, "") for text in texts],
        terms=[()] * count,
        labels=labels or [frozenset()] * count,
        normal=normal or [False] * count,
        group_ids=np.zeros(count, np.int32) if groups is None else groups,
    )


def with_groups(**texts):
    numbers = iter(reports.group_ids([text for split in texts.values() for text in split]))
    return {name: np.array([next(numbers) for _ in split], np.int32) for name, split in texts.items()}


def test_planted_leaks_are_found():
    long = "the heart is normal in size and the lungs are clear without any effusion or pneumothorax seen"
    texts = {
        "train": [long, "No acute disease.", "Large left effusion."],
        "val": ["Something else entirely."],
        "test": [long + " today", "NO acute disease", "Nodule in the right upper lobe."],
    }
    groups = with_groups(**texts)
    shared = np.full((8, 9), 7, np.uint8)
    shared[0] = 200
    blank = np.full((8, 9), 3, np.uint8)
    other = np.arange(72, dtype=np.uint8).reshape(8, 9)
    result = audit(
        {
            "train": split_of(
                "train", texts["train"], [shared, other, other + 1], ["a", "b", "c"], groups=groups["train"]
            ),
            "val": split_of("val", texts["val"], groups=groups["val"]),
            "test": split_of("test", texts["test"], [shared, blank, other + 2], list("bxy"), groups=groups["test"]),
        }
    )
    assert result["leaks"]["test"] == {
        "exact": 1,
        "near": 2,
        "studies": 0,
        "of_studies": 3,
        "patients": 1,
        "of_patients": 3,
        "images": 1,
        "copies": 2,
        "of_images": 3,
    }
    assert result["leaks"]["val"]["near"] == 0
    assert result["doubtful_images"]["test"]["blank_images"] == ["test1.png"]
    found = {name: (check["count"], check["of"], check["examples"]) for name, check in result["checks"].items()}
    assert found["blank_images"] == (1, 7, ("test1.png",))
    assert found["equal_reports"] == (1, 4, ("test1",))
    assert found["near_copies"] == (2, 4, ("test0", "test1"))
    assert found["shared_patients"] == (1, 4, ("b",))
    assert found["shared_images"] == (1, 4, ("test0.png",))
    assert found["copied_images"] == (2, 4, ("test0.png", "test2.png"))  # the latter is a grey brighter
    assert found["shared_studies"] == (0, 4, ())
    assert result["splits"]["train"]["normal"] is None
    assert "1 of 3 (33.3%)" in audit_tables(result)["What training has already seen"].rows[0]


def test_warnings_are_counted_and_listed():
    windows = {f"train{i}.png": [f"window left out: centre {i}, width 1; no"] for i in range(5)}
    windows["train0.png"].append("flat picture: all black")
    windows["another.png"] = ["flat picture: of another view"]
    splits = {name: split_of(name, [f"Report {i}." for i in range(6)]) for name in ("train", "val")}
    splits["train"] = dataclasses.replace(splits["train"], warnings=windows)
    result = audit(splits)
    assert result["image_warnings"]["val"] == {"images": 0, "kinds": {}, "listed": []}
    said = result["image_warnings"]["train"]
    assert (said["images"], said["kinds"]) == (5, {"window left out": 5, "flat picture": 1})
    assert said["listed"][:3] == [
        ["train0.png", "window left out: centre 0, width 1; no"],
        ["train0.png", "flat picture: all black"],
        ["train1.png", "window left out: centre 1, width 1; no"],
    ]
    assert len(said["listed"]) == 6
    tables = audit_tables(result)
    examples = "; ".join(f"train{i}.png (centre {i}, width 1; no)" for i in range(3))
    assert tables["Images read with a warning"].rows == [
        ("train", "window left out", "5", f"{examples}; …"),
        ("train", "flat picture", "1", "train0.png (all black)"),
    ]
    assert (result["checks"]["warned_images"]["count"], result["checks"]["warned_images"]["of"]) == (5, 12)


@pytest.mark.slow
def test_r2gen_split_leaks_as_it_is_known_to(shared):
    folder = shared / "data" / "iu_xray"
    studies = {study.study_id: study for study in read_studies(folder)}
    members = {"train": [], "val": [], "test": []}
    for study, split in r2gen_split(folder / "r2gen_annotation.json").items():
        members[split].append(studies[study])
    texts = {name: [study.sections["FINDINGS"] for study in split] for name, split in members.items()}
    groups = with_groups(**texts)
    pixel = np.zeros((1, 1), np.uint8)
    result = audit(
        {
            name: split_of(
                name,
                texts[name],
                [pixel] * len(split),
                labels=[reports.finding_labels(study.major) for study in split],
                normal=[reports.says_normal(study.major) for study in split],
                groups=groups[name],
            )
            for name, split in members.items()
        }
    )
    assert result["leaks"]["test"]["exact"] == 277
    assert [round(result["ceilings"]["test"][k], 3) for k in (1, 5, 10)] == [0.668, 0.875, 0.951]
    assert [round(result["chances"]["test"][order][10], 3) for order in ("random", "tied")] == [0.064, 0.02]
    assert ("test, by group: chance, equal reports tied", "0.003", "0.011", "0.020") in audit_tables(result)[
        "Recall within reach, image → report, for reports repeat"
    ].rows
    assert round(result["splits"]["train"]["normal"], 2) == 0.33
    assert round(result["splits"]["test"]["normal"], 2) == 0.52
