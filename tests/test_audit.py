"""cxr_jax.audit: what it counts, on data whose faults are planted, and on R2Gen's published split."""

import json
import subprocess
import sys

import numpy as np

from cxr_jax.audit import audit, tables
from cxr_jax.data import images, reports
from cxr_jax.data.pipeline import Split
from cxr_jax.data.sources.openi_release import read_studies
from cxr_jax.data.splits import r2gen_split
from tests.tiny import tiny_config


def split_of(name, texts, pixels=None, patients=None, labels=None, normal=None, groups=None):
    count = len(texts)
    pixels = pixels or [np.random.default_rng([len(name), i]).integers(0, 255, (8, 9), np.uint8) for i in range(count)]
    return Split(
        name=name,
        source=[{"image": images.encode_png(image)} for image in pixels],
        record=np.arange(count),
        image_ids=[f"{name}{i}.png" for i in range(count)],
        study_ids=[f"{name}{i}" for i in range(count)],
        patient_ids=patients or [f"{name}-patient{i}" for i in range(count)],
        reports=list(texts),
        labels=labels or [frozenset()] * count,
        normal=normal or [False] * count,
        group_ids=np.zeros(count, np.int32) if groups is None else groups,
    )


def with_groups(**texts):
    numbers = iter(reports.group_ids([text for each in texts.values() for text in each]))
    return {name: np.array([next(numbers) for _ in each], np.int32) for name, each in texts.items()}


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
    found = audit(
        {
            "train": split_of(
                "train", texts["train"], [shared, other, other + 1], ["a", "b", "c"], groups=groups["train"]
            ),
            "val": split_of("val", texts["val"], groups=groups["val"]),
            "test": split_of("test", texts["test"], [shared, blank, other + 2], list("bxy"), groups=groups["test"]),
        }
    )
    assert found["leaks"]["test"] == {
        "exact": 1,
        "near": 2,
        "studies": 0,
        "of_studies": 3,
        "patients": 1,
        "of_patients": 3,
        "images": 1,
        "of_images": 3,
    }
    assert found["leaks"]["val"]["near"] == 0
    assert found["blank_images"] == {"train": [], "val": [], "test": ["test1.png"]}
    assert found["splits"]["train"]["normal"] is None
    assert "1 of 3 (33.3%)" in tables(found)["What training has already seen"].rows[0]


def test_command_writes_a_table_a_page_and_figures(tmp_path):
    config = tiny_config(f"data.cache={tmp_path}")
    changes = [f"--config.data.{key}={config.data[key]}" for key in ("num_studies", "stored_size", "cache")]
    command = [sys.executable, "-m", "cxr_jax.audit", "--config", "configs/phantom.py", "--out", tmp_path / "audit"]
    run = subprocess.run([*command, *changes], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "What training has already seen" in run.stdout
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert sum(row["studies"] for row in found["splits"].values()) <= config.data.num_studies
    assert found["leaks"]["test"]["studies"] == 0
    assert 0 < found["splits"]["train"]["normal"] < 1
    page = (tmp_path / "audit" / "index.html").read_text()
    assert "drawn images, not patients" in page
    assert "<script" not in page


def test_r2gen_split_leaks_as_it_is_known_to(shared):
    folder = shared / "data" / "iu_xray"
    studies = {study.study_id: study for study in read_studies(folder)}
    members = {"train": [], "val": [], "test": []}
    for study, split in r2gen_split(folder / "r2gen_annotation.json").items():
        members[split].append(studies[study])
    texts = {name: [study.sections["FINDINGS"] for study in each] for name, each in members.items()}
    groups = with_groups(**texts)
    pixel = np.zeros((1, 1), np.uint8)
    found = audit(
        {
            name: split_of(
                name,
                texts[name],
                [pixel] * len(each),
                labels=[reports.finding_labels(study.major) for study in each],
                normal=[reports.says_normal(study.major) for study in each],
                groups=groups[name],
            )
            for name, each in members.items()
        }
    )
    assert found["leaks"]["test"]["exact"] == 277
    assert [round(found["ceilings"]["test"][k], 3) for k in (1, 5, 10)] == [0.668, 0.875, 0.951]
    assert [round(found["chances"]["test"][order][10], 3) for order in ("random", "tied")] == [0.064, 0.02]
    assert ("test, by group: chance, equal reports tied", "0.003", "0.011", "0.020") in tables(found)[
        "Recall within reach, image → report, for reports repeat"
    ].rows
    assert round(found["splits"]["train"]["normal"], 2) == 0.33
    assert round(found["splits"]["test"]["normal"], 2) == 0.52
