import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.data import images, pipeline
from cxr_jax.data.notes import Notes
from cxr_jax.data.sources import r2gen
from cxr_jax.errors import InputError
from tests.data import settings
from tests.data.settings import make_config, make_data

SIDE = 16


def iu_entry(number, split):
    """A study of two images, as in R2Gen's release of IU X-ray."""
    name = f"CXR{number}_IM-{number:04d}"
    return {
        "id": name,
        "report": f"Report {number}.",
        "image_path": [f"{name}/0.png", f"{name}/1.png"],
        "split": split,
    }


def mimic_entry(number, split, subject=None):
    """An image, as in R2Gen's release of MIMIC-CXR: two a study."""
    name, study = "-".join([f"{number:08x}"] * 5), 50_000_000 + number // 2
    subject = subject or 10_000_000 + number // 2
    return {
        "id": name,
        "study_id": study,
        "subject_id": subject,
        "report": f"Report {number // 2}.",
        "image_path": [f"p10/p{subject}/s{study}/{name}.jpg"],
        "split": split,
    }


def table_of(entry, train=6, val=2, test=2):
    names = ["train"] * train + ["val"] * val + ["test"] * test
    entries = [entry(number, name) for number, name in enumerate(names)]
    return {split: [e for e in entries if e["split"] == split] for split in ("train", "val", "test")}


def write_tree(folder, table):
    """annotation.json, and each image as bright as ten times its place in the file."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotation.json").write_text(json.dumps(table), encoding="utf-8")
    paths = [path for entries in table.values() for entry in entries for path in entry["image_path"]]
    for number, path in enumerate(paths):
        file = folder / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(images.encode_png(np.full((SIDE, SIDE), 10 * number % 256, np.uint8)))
    return folder


def load(folder, split="auto", **data):
    config = make_config("", folder / "cache", dataset="r2gen", path=str(folder), split=split, **data)
    return pipeline.load_splits(config)


def data_of(folder, split="auto", seed=0):
    return make_data(Path(folder) / "cache", dataset="r2gen", path=folder, split=split, seed=seed)


def describe(folder, split="auto", seed=0):
    return r2gen.describe(data_of(folder, split, seed))


def read(folder, split="auto"):
    return settings.read(r2gen, data_of(folder, split))


def refused(folder, split="auto"):
    """The complaint about a folder: one line that names annotation.json."""
    with pytest.raises(InputError) as error:
        read(folder, split)
    message = str(error.value)
    assert str(folder / "annotation.json") in message
    assert "\n" not in message
    return message


def test_a_tree_reaches_the_pipeline(tmp_path):
    splits, source = load(write_tree(tmp_path, table_of(iu_entry)))
    assert source.description == "IU X-ray (R2Gen's release, R2Gen's split)"
    assert {name: len(split) for name, split in splits.items()} == {"train": 12, "val": 4, "test": 4}
    for split in splits.values():
        for row, image_id in enumerate(split.image_ids):
            number, place = int(image_id[3:].split("_")[0]), int(image_id[-1])
            assert split.reports[row] == f"Report {number}."
            assert split.study_ids[row] == split.patient_ids[row] == image_id.split("/")[0]
            assert np.all(images.decode(split.encoded_image(row)) == 10 * (2 * number + place))


def test_the_second_of_two_images_is_lateral_and_no_other(tmp_path):
    table = table_of(iu_entry)
    table["test"][0]["image_path"].pop()
    table["test"][1]["image_path"].append("CXR9_IM-0009/2.png")
    published = r2gen.read_annotation(write_tree(tmp_path, table), Notes())
    for record in published:
        second_of_two = record.split != "test" and record.image_id.endswith("/1")
        assert record.view == ("lateral" if second_of_two else "")


def test_the_form_for_mimic(tmp_path):
    splits, source = load(write_tree(tmp_path, table_of(mimic_entry)))
    assert source.description == "MIMIC-CXR (R2Gen's release, R2Gen's split)"
    assert {name: len(split) for name, split in splits.items()} == {"train": 6, "val": 2, "test": 2}
    assert splits["test"].study_ids == ["50000004"] * 2
    assert splits["test"].patient_ids == ["10000004"] * 2


def test_other_data_do_not_pass_for_r2gens(tmp_path):
    table = table_of(iu_entry)
    table["val"][0]["id"] = "mine"
    assert describe(write_tree(tmp_path, table)).description == (
        "images and reports in R2Gen's layout (their own split)"
    )


def test_dealt_anew_by_patient(tmp_path):
    split = "patient"
    table = table_of(lambda n, s: mimic_entry(n, s, subject=10_000_000 + n % 10), train=30, val=10, test=0)
    folder = write_tree(tmp_path, table)
    assert "10000000 is in val and in train" in refused(folder)
    assert "dealt anew by patient" in describe(folder, split).description
    with pytest.raises(InputError, match=r"data\.split = paper: R2Gen's release has a split of its own"):
        describe(folder, "paper")
    splits = read(folder, split)
    patients = {name: {r.patient_id for r in part} for name, part in splits.items()}
    assert {name: len(part) for name, part in patients.items()} == {"train": 7, "val": 2, "test": 1}
    assert len(set.union(*patients.values())) == 10


def test_the_fingerprint_follows_what_is_read_but_not_the_folder(tmp_path):
    one, two = write_tree(tmp_path / "one", table_of(iu_entry)), tmp_path / "two"
    shutil.copytree(one, two)  # with the files' times
    name = describe(one).name
    assert describe(two).name == describe(two, seed=1).name == describe(two, "column").name == name
    assert describe(two, "patient").name not in (name, describe(two, "patient", seed=1).name)
    (one / "images" / "CXR1_IM-0001" / "0.png").write_bytes(b"longer" * 99)
    assert describe(one).name != name


def test_a_mangled_test_key_is_accepted_and_said(tmp_path, capsys):
    table = table_of(iu_entry)
    folder = write_tree(tmp_path, {"t3st" if key == "test" else key: part for key, part in table.items()})
    assert len(read(folder)["test"]) == 4
    assert "has no list test; 't3st' is taken for it" in capsys.readouterr().err


def test_entries_without_a_report_are_left_out_and_counted(tmp_path, capsys):
    table = table_of(iu_entry)
    table["train"][3]["report"] = " \n"
    assert len(read(write_tree(tmp_path, table))["train"]) == 10
    assert "1 entries without a report are left out" in capsys.readouterr().err
    table["train"][4]["report"] = "nan"
    assert len(read(write_tree(tmp_path, table))["train"]) == 8
    assert "2 entries without a report are left out ('', 'nan')\n" in capsys.readouterr().err


def test_a_study_id_of_several_subjects_is_a_study_of_each(tmp_path, capsys):
    """Else the reports of test would be those of train."""
    table = {split: [] for split in ("train", "val", "test")}
    for number, split in enumerate(("train", "train", "val", "test")):
        entry = {"id": f"e{number}", "subject_id": number, "study_id": 7, "report": f"Report {number}."}
        table[split].append(entry | {"image_path": [f"{number}.png"]})
    splits = read(write_tree(tmp_path, table))
    assert [r.findings for part in splits.values() for r in part] == [f"Report {number}." for number in range(4)]
    assert [r.study_id for part in splits.values() for r in part] == ["0/7", "1/7", "2/7", "3/7"]
    assert "1 study_ids stand under several patients, and count as a study of each ('7')" in capsys.readouterr().err


@pytest.mark.parametrize("forms", [("0123", "123"), ("a1", "A1"), ("12", "12.0")])
@pytest.mark.parametrize("key", ["id", "subject_id"])
def test_one_id_in_two_forms_does_not_cross_splits(tmp_path, forms, key):
    table = {split: [] for split in ("train", "val", "test")}
    for number, (split, form) in enumerate(zip(("train", "test", "val"), (*forms, "other"), strict=True)):
        entry = {"id": f"e{number}", "report": f"Report {number}.", "image_path": [f"{number}.png"]}
        table[split].append(entry | {key: form})
    assert forms[0] in refused(write_tree(tmp_path, table))


# What is refused


@pytest.mark.parametrize("name", ["annotation.json", "images"])
def test_a_folder_of_another_layout(tmp_path, name):
    folder = write_tree(tmp_path / "tree", table_of(iu_entry))
    (folder / name).rename(folder / "elsewhere")
    for path in (folder, "", tmp_path / "none"):
        with pytest.raises(InputError, match=r"data\.path = '.*lacks annotation\.json or the folder images"):
            describe(path)


def test_a_split_that_it_has_not(tmp_path):
    with pytest.raises(InputError, match=r"data\.split = other: .*data\.split=auto"):
        describe(write_tree(tmp_path, table_of(iu_entry)), "other")


@pytest.mark.parametrize("text", [b"", b'{"train": [', b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_not_json(tmp_path, text):
    folder = write_tree(tmp_path, table_of(iu_entry))
    (folder / "annotation.json").write_bytes(text)
    assert "not JSON in UTF-8" in refused(folder)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "has no list train"),
        ({"train": [], "val": {}, "test": []}, "has no list val"),
        ({"train": [], "val": []}, "has no list test"),
        ({"train": [], "val": [], "a": [], "b": []}, "has no list test"),
        ({"train": [], "val": [], "test": [], "dev": []}, "the list 'dev' is no split; wanted are train, val, test"),
    ],
)
def test_lists(tmp_path, table, message):
    folder = write_tree(tmp_path, {})
    (folder / "annotation.json").write_text(json.dumps(table))
    assert message in refused(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "id is missing; wanted is a string"),
        ({"id": 3}, "id is 3; wanted is a string"),
        ({"id": "../../etc/passwd"}, "id is '../../etc/passwd'; wanted are letters"),
        ({"id": "CXR0_IM-0000"}, "id CXR0_IM-0000 is also in train[0]"),
        ({"report": None}, "report is missing"),
        ({"report": ["a"]}, "report is ['a']; wanted is a string"),
        ({"report": "\ud800"}, "report holds half a character"),
        ({"image_path": []}, "image_path is []; wanted is a list"),
        ({"image_path": "a.png"}, "image_path is 'a.png'; wanted is a list"),
        ({"image_path": ["a.png", 3]}, "image_path is ['a.png', 3]"),
        ({"image_path": ["../../etc/passwd"]}, "image_path holds '../../etc/passwd'; wanted is a path below"),
        ({"image_path": ["a/../../b.png"]}, "image_path holds 'a/../../b.png'"),
        ({"image_path": ["/etc/passwd"]}, "image_path holds '/etc/passwd'"),
        ({"image_path": ["a\\..\\b.png"]}, "image_path holds"),
        ({"image_path": ["a\0.png"]}, "image_path holds"),
        ({"image_path": [""]}, "image_path holds ''"),
        ({"image_path": ["CXR0_IM-0000/1.png"]}, "image CXR0_IM-0000/1.png is also in train[0]"),
        ({"subject_id": 1.5}, "subject_id is 1.5"),
        ({"study_id": True}, "study_id is True"),
        ({"split": "test"}, "split is 'test' in the list train"),
        ({"split": "tset"}, "split is 'tset' in the list train"),
    ],
)
def test_entries(tmp_path, change, message):
    table = table_of(iu_entry)
    folder = write_tree(tmp_path, table)
    table["train"][4] |= change
    (folder / "annotation.json").write_text(json.dumps(table))
    assert f"annotation.json: train[4]: {message}" in refused(folder)
    table["train"][4] = "text"
    (folder / "annotation.json").write_text(json.dumps(table))
    assert "train[4]: is str; wanted is an object" in refused(folder)


def test_a_missing_image(tmp_path):
    folder = write_tree(tmp_path, table_of(iu_entry))
    file = folder / "images" / "CXR3_IM-0003" / "1.png"
    file.unlink()
    with pytest.raises(InputError, match=r"CXR3_IM-0003/1\.png: no such image"):
        load(folder)


# Real reports


def test_the_published_annotation_reads_whole(shared, tmp_path):
    text = (shared / "data" / "iu_xray" / "r2gen_annotation.json").read_bytes()
    (tmp_path / "images").mkdir()
    (tmp_path / "annotation.json").write_bytes(text)
    notes = Notes()
    published = r2gen.read_annotation(tmp_path, notes)
    assert not notes.all
    studies = {name: {r.study_id for r in published if r.split == name} for name in ("train", "val", "test")}
    assert {name: len(part) for name, part in studies.items()} == {"train": 2069, "val": 296, "test": 590}
    assert len(published) == 2 * 2955
    assert all(record.findings for record in published)
    assert describe(tmp_path).description == "IU X-ray (R2Gen's release, R2Gen's split)"
