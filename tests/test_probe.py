"""The command that probes, on files of embeddings and tables of labels."""

import json

import numpy as np
import pytest

from cxr_jax import probe
from cxr_jax.errors import InputError
from cxr_jax.retrieval import embedding_file

COUNT = 120
needs_sklearn = pytest.mark.usefixtures("sklearn")


@pytest.fixture
def sklearn(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr("cxr_jax.evaluation.linear_probe.STRENGTHS", (1e-2, 1.0))


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    findings = rng.choice(["Mass", "Mass|Edema", ""], COUNT).tolist()
    return {
        "image": [f"a {number}.png" for number in range(COUNT)],
        "patient_id": [f"p{number // 2}" for number in range(COUNT)],
        "labels": findings,
        "Edema": ["1" if "Edema" in names else "" for names in findings],
        "finding": [names or "normal" for names in findings],
    }


@pytest.fixture
def write(tmp_path, columns):
    def write(**changes):
        given = {**columns, **changes}
        vectors = np.random.default_rng(1).normal(size=(COUNT, 6)).astype(np.float32)
        vectors[:, 0] += 2 * np.array(["Edema" in names for names in columns["labels"]])
        vectors[5] = np.nan
        kept = {name: cells for name, cells in given.items() if cells is not None}
        about = {"run": "runs/a", "step": 3, "checkpoint": "c", "inputs": "i", "unreadable": 1}
        file = tmp_path / "e.npz"
        embedding_file.write(file, kept, {"image_embedding": lambda a, b: vectors[a:b]}, about)
        return file

    return write


def run(file, *more):
    probe.main(["--embeddings", str(file), *more])
    return json.loads(file.with_suffix(".probe.json").read_text())


@needs_sklearn
def test_labels_of_the_embedded_table(write, capsys):
    file = write()
    result = run(file, "--percent", "20", "100", "--seeds", "2")
    assert result["label_columns"] == ["labels"]
    assert result["shares"]["100"]["labels"]["Edema"]["auroc"] > 0.8
    assert list(result["shares"]) == ["20", "100"]
    assert (result["of"], result["about"]["step"], result["split"], result["seed"]) == (
        "image_embedding", 3, "patient", 0,
    )  # fmt: skip
    assert sum(part["rows"] for part in result["splits"].values()) == COUNT - 1
    said = capsys.readouterr()
    assert "1 rows have no image_embedding, and are left out" in said.err
    assert "20 % of the training rows" in said.out
    assert "mean of 2" in said.out
    # The same labels as numbers, and as another table's.
    numbers = run(file, "--label_column", "Edema", "--percent", "100")
    assert numbers["shares"]["100"]["labels"]["Edema"] != {}
    assert list(numbers["labels"]) == ["Edema"]


@needs_sklearn
def test_labels_of_another_table(write, columns, tmp_path, capsys):
    file = write(labels=None, finding=None, patient_id=None)
    order = np.random.default_rng(2).permutation(COUNT)[:-3].tolist()
    splits = ["train"] * 70 + ["val"] * 24 + ["test"] * 26
    lines = [f"{columns['image'][i]},{columns['patient_id'][i]},{columns['labels'][i]},{splits[i]}" for i in order]
    (tmp_path / "labels.csv").write_text("\n".join(["image,Patient ID,labels,split", *lines, lines[0]]))
    result = run(file, "--labels", str(tmp_path / "labels.csv"), "--percent", "100")
    assert result["split"] == "column"
    assert result["shares"]["100"]["labels"]["Edema"]["auroc"] > 0.8
    assert f"rows are not in {tmp_path / 'labels.csv'}, and are left out" in capsys.readouterr().err
    (tmp_path / "labels.csv").write_text("\n".join(["image,labels", f"{columns['image'][0]},x", "a 0.png,y"]))
    with pytest.raises(InputError, match=r"labels\.csv row 3: image a 0\.png comes a second time"):
        run(file, "--labels", str(tmp_path / "labels.csv"))
    (tmp_path / "labels.csv").write_text("file,labels\nx,y\n")
    with pytest.raises(InputError, match="shares none of the columns image, study_id, patient_id, line"):
        run(file, "--labels", str(tmp_path / "labels.csv"))
    (tmp_path / "labels.csv").write_text("image,labels\nx,y\n")
    with pytest.raises(InputError, match="no row has both an embedding and labels"):
        run(file, "--labels", str(tmp_path / "labels.csv"))


@needs_sklearn
def test_an_image_in_two_rows_without_a_patient_is_one_example(write, columns, capsys):
    """A row a box, as detection sets have them."""
    images = [f"{number // 2}.png" for number in range(COUNT)]
    labels = [columns["labels"][2 * (number // 2)] if number % 2 else "" for number in range(COUNT)]
    result = run(write(patient_id=None, image=images, labels=labels), "--percent", "100")
    assert sum(part["rows"] for part in result["splits"].values()) == COUNT // 2
    assert sum(part["patients"] for part in result["splits"].values()) == COUNT // 2
    assert "images stand in several rows, which are made one" in capsys.readouterr().err


@needs_sklearn
def test_a_patient_in_two_splits_is_refused_or_dealt_anew(write):
    file = write(split=["train"] * 71 + ["val"] * 23 + ["test"] * 26)
    with pytest.raises(InputError, match=r"patient p35 is in train and in val; .* --split patient") as error:
        run(file)
    assert "\n" not in str(error.value)
    assert run(file, "--split", "patient", "--percent", "100")["split"] == "patient"


@needs_sklearn
def test_bad_files(write, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.npz: no such file"):
        run(tmp_path / "nowhere.npz")
    with pytest.raises(InputError, match="has no text_embedding, only image_embedding"):
        run(write(), "--of", "text")
    with pytest.raises(InputError, match="has no column labels, only image, patient_id, Edema, finding"):
        run(write(labels=None))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--embeddings: is missing"),
        (["--embeddings", "x", "--percent", "0"], "--percent 0: must be more than 0"),
        (["--embeddings", "x", "--percent", "101"], "--percent 101: must be more than 0 and at most 100"),
        (["--embeddings", "x", "--seeds", "0"], "--seeds 0: must be at least 1"),
        (["--embeddings", "x", "--split", "mine"], "invalid choice: 'mine'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        probe.main(arguments)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(InputError, match=r'pip install "cxr_jax\[probe\]"'):
        probe.main(["--embeddings", "x.npz"])
