"""A trained model that travels: what an export holds, that it is the run's model bit for bit, and what it refuses."""

import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import jax
import numpy as np
import pytest
from huggingface_hub.utils import filter_repo_objects
from PIL import Image
from safetensors.numpy import load_file, save_file

import cxr_jax
from cxr_jax import retrieve
from cxr_jax.errors import InputError
from cxr_jax.export import __main__ as export
from cxr_jax.files import write_json
from cxr_jax.retrieval.model import DraftWarning, Model
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.train import train
from cxr_jax.weights import hub
from cxr_jax.weights.densenet import load_densenet
from tests.tiny import tiny_config

TORCHVISION = (
    Path(__file__).parents[1] / "weights" / "torchvision.safetensors"
)  # of block sizes (2, 1) and growth rate 4
EXPORTED = {
    "README.md", "config.json", "model.safetensors",
    "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
}  # fmt: skip
TEXTS = ["No pleural effusion.", "Small nodule on the left, and a scoliosis."]
needs_flatbuffers = pytest.mark.skipif(importlib.util.find_spec("flatbuffers") is None, reason="needs flatbuffers")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    folder = tmp_path_factory.mktemp("run")
    overrides = "num_steps=2", "eval_every=2", "data.num_studies=16", "batch_size=4", "image.block_sizes=(2, 1)"
    return train(tiny_config(*overrides, f"data.cache={folder / 'cache'}"), folder / "run")


@pytest.fixture(scope="module")
def model(run) -> Model:
    return cxr_jax.load(run.root)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    export.main(["--workdir", str(run.root), "--out", str(out)])
    return out


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def contents(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def same_bits(a, b) -> bool:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return all(
        x.dtype == y.dtype and x.shape == y.shape and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_an_export_is_the_runs_model_bit_for_bit(model, exported):
    assert contents(exported) == EXPORTED
    back = cxr_jax.load(exported)
    assert same_bits(dict(model.variables), back.variables)
    images = list(np.random.default_rng(0).integers(0, 256, (3, 40, 32), dtype=np.uint8))
    np.testing.assert_array_equal(back.encode_image(images), model.encode_image(images))
    np.testing.assert_array_equal(back.encode_text(TEXTS), model.encode_text(TEXTS))
    names = load_file(exported / "model.safetensors").keys()
    assert {"params.vision.densenet.conv0.kernel", "batch_stats.vision.densenet.norm0.mean"} <= names
    marked = json.loads((exported / "config.json").read_text())
    assert (marked["model_type"], marked["cxr_jax_version"], marked["step"]) == ("cxr_jax", cxr_jax.__version__, 2)


def test_no_report_and_no_path_leaves_with_it(run, model, exported):
    held = b"".join((exported / name).read_bytes() for name in EXPORTED)
    assert len({row.report for row in model.pool.rows}) > 5
    for row in model.pool.rows:
        assert row.report.encode() not in held
        assert row.image_id.encode() not in held
    assert str(run.root.parent).encode() not in held
    with pytest.raises(InputError, match=r"holds no pool of reports .* --with_index"):
        cxr_jax.load(exported).retrieve("nowhere.png")


def test_with_its_index_it_retrieves_what_the_run_does(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(retrieve.parallel, "cache_compilations", lambda folder: None)
    about = {"checkpoint": SplitIndex.load(run.index, "train").checkpoint}
    shown = {"effusion": {"map": "similarity", "pointing": 0.75, "studies": 40}}
    (run.index / "regions.json").write_text(json.dumps(about | {"shown": shown}))
    export.main(["--workdir", str(run.root), "--out", str(tmp_path / "model"), "--with_index"])
    assert cxr_jax.load(tmp_path / "model").regions.shown == cxr_jax.load(run.root).regions.shown != {}
    (run.index / "regions.json").unlink()
    index = {f"index/{file}" for file in contents(run.index) if file.startswith("train/")}
    index |= {"index/draft.json", "index/abstention.json", "index/regions.json"}
    assert contents(tmp_path / "model") == EXPORTED | index > EXPORTED | {"index/train/rows.jsonl"}
    assert "are in this folder" in (tmp_path / "model" / "README.md").read_text()
    Image.new("L", (40, 40), 90).save(tmp_path / "a.png")
    capsys.readouterr()
    printed = []
    for folder in (run.root, tmp_path / "model"):
        retrieve.main(["--workdir", str(folder), "--image", str(tmp_path / "a.png"), "--text", TEXTS[0]])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].count("  1. ") == 2
    picture = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    with pytest.warns(DraftWarning):
        drafts = [cxr_jax.load(folder).draft(picture, "compose") for folder in (run.root, tmp_path / "model")]
    assert drafts[0] == drafts[1]
    assert drafts[0].doubts
    limits = tmp_path / "model" / "index" / "abstention.json"
    limits.unlink()  # as of an export of before: said, and answered all the same
    with pytest.warns(DraftWarning, match="not checked: the index is of an older version"):
        draft = cxr_jax.load(tmp_path / "model").draft(picture, "compose", abstain=True)
    assert (draft.text, draft.doubts) == (drafts[0].text, ())
    limits.write_text("{}")
    with pytest.raises(InputError, match=r"abstention\.json: damaged"):
        cxr_jax.load(tmp_path / "model")
    limits.unlink()
    (tmp_path / "model" / "index" / "draft.json").write_text('{"affirmed": {}}')
    with pytest.raises(InputError, match=r"draft\.json: damaged"):
        cxr_jax.load(tmp_path / "model")


def test_a_pretrained_towers_path_becomes_its_name():
    towers = {"image": {"pretrained": "/data/me/densenet.safetensors"}, "text": {"pretrained": "dmis-lab/biobert"}}
    began = {"init_from": "/runs/theirs", "init_taken": {"source": "/home/me/runs/theirs", "step": 3}}
    data = {"path": "/data/iu", "csv": "a.csv", "annotation": "", "cache": "/c"}
    config = export.portable({**towers, **began, "data": data})
    assert (config["init_from"], config["init_taken"]) == ("theirs", {"source": "theirs", "step": 3})
    assert config["image"]["pretrained"] == "densenet.safetensors"
    assert config["text"]["pretrained"] == "dmis-lab/biobert"
    assert config["data"] == {"path": "", "csv": "", "annotation": "", "cache": export.CACHE}


def test_the_card_has_the_runs_scores_or_says_that_there_are_none(run, exported, tmp_path):
    folder = Path(shutil.copytree(run.root, tmp_path / "run"))
    retrieve.evaluate_split(folder)
    metrics = json.loads((folder / "eval" / "test" / "metrics.json").read_text())
    export.main(["--workdir", str(folder), "--out", str(tmp_path / "model"), "--license", "cc-by-nc-4.0"])
    card = huggingface_hub.ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.license == "cc-by-nc-4.0"
    assert card.data.library_name == "cxr_jax"
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert "radiology" in card.data.tags
    for words in ("Not a medical device", "MIMIC-CXR", "phantom (drawn images, not patients)", "--with_index"):
        assert words in card.text
    low, high = metrics["intervals"]["bleu_4"]
    floor, ceiling = metrics["floors"]["constant_report"]["bleu_4"], metrics["ceiling"]["bleu_4"]
    for value in (f"{metrics['scores']['bleu_4']:.3f}", f"{low:.3f}-{high:.3f}", f"{floor:.3f}", f"{ceiling:.3f}"):
        assert f"| {value} |" in card.text
    assert "was not evaluated" not in card.text

    # Scores of another checkpoint are none of this one's.
    write_json(folder / "eval" / "test" / "metrics.json", metrics | {"step": 1})
    export.main(["--workdir", str(folder), "--out", str(tmp_path / "later")])
    for unscored in (tmp_path / "later", exported):
        text = (unscored / "README.md").read_text()
        assert "was not evaluated" in text
        assert "BLEU" not in text


def test_densenet_under_torchvisions_names(run, model, tmp_path):
    export.main(["--workdir", str(run.root), "--densenet", str(tmp_path / "densenet.safetensors")])
    written = load_file(tmp_path / "densenet.safetensors")
    torchvisions = {
        name: value.shape
        for name, value in load_file(TORCHVISION).items()
        if name.startswith("features.") and "num_batches_tracked" not in name
    }
    assert {name: value.shape for name, value in written.items()} == torchvisions
    defaults = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    back = load_densenet(model.config["image"] | defaults | {"pretrained": str(tmp_path / "densenet.safetensors")})
    assert [list(back.mean), list(back.std)] == [model.config["image"]["mean"], model.config["image"]["std"]]
    assert "3 channels, its own mean" in back.note
    assert same_bits(
        back.variables, {part: dict(model.variables[part]["vision"]["densenet"]) for part in model.variables}
    )


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("cxr_jax", "flax", "transformers"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
"""


@needs_flatbuffers
def test_the_cards_example_runs_without_this_package(run, model, tmp_path):
    out = tmp_path / "model"
    export.main(["--workdir", str(run.root), "--out", str(out), "--stablehlo"])
    assert contents(out) == EXPORTED | {"image_encoder.stablehlo", "text_encoder.stablehlo"}
    for file in out.glob("*.stablehlo"):
        assert str(Path(cxr_jax.__file__).parent).encode() not in file.read_bytes()
    example = (out / "README.md").read_text().split("```python\n")[2].split("```")[0]
    more = (
        "images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)\n"
        "np.savez('z.npz', z_v=encode_image(weights, images), z_t=z_t)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", BLOCKED + example + more], cwd=out, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    with np.load(out / "z.npz") as z:
        np.testing.assert_allclose(z["z_v"], model.encode_image(list(images)), atol=1e-5, rtol=0)
        np.testing.assert_allclose(z["z_t"], model.encode_text(TEXTS[:1]), atol=1e-5, rtol=0)


class Loot:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def damage(kind: str, file: Path) -> None:
    weights, name = load_file(file), "params.vision.head.kernel"
    if kind == "gone":
        file.unlink()
    elif kind == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif kind == "a pickle":
        file.write_bytes(pickle.dumps(Loot()))
    elif kind == "nothing":
        file.write_bytes(b"")
    else:
        value = weights.pop(name)
        changed = {
            "another shape": {name: value[:-1]},
            "missing": {},
            "left over": {name: value, "params.more": value},
            "half": {name: value.astype(np.float16)},
            "nan": {name: value * np.float32("nan")},
        }[kind]
        save_file(weights | changed, file)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gone", "cannot be read"),
        ("truncated", "damaged safetensors"),
        ("a pickle", "is a pickle under a .safetensors name, and was not opened"),
        ("nothing", "it is empty"),
        ("another shape", r"1 of another shape \(params.vision.head.kernel: \(\d+, 16\), not \(\d+, 16\)\)"),
        ("missing", r"1 missing \(params.vision.head.kernel\)"),
        ("left over", r"1 left over \(params.more\)"),
        ("half", "holds params.vision.head.kernel as float16; export it again"),
        ("nan", "NaN or infinity"),
    ],
)
def test_damaged_weights_are_refused_in_one_line(copy, kind, words):
    damage(kind, copy / "model.safetensors")
    with pytest.raises(InputError, match=words) as error:
        cxr_jax.load(copy)
    assert str(error.value).startswith(str(copy / "model.safetensors"))
    assert "\n" not in str(error.value)


def test_a_damaged_index_or_tokenizer_is_refused(run, copy):
    shutil.copytree(run.index / "train", copy / "index" / "train")
    (copy / "index" / "train" / "image_embeddings.npy").write_bytes(pickle.dumps(Loot()))
    with pytest.raises(InputError, match=r"index/train: damaged"):
        cxr_jax.load(copy)
    shutil.rmtree(copy / "index")
    for file in copy.glob("*token*"):
        file.unlink()
    (copy / "vocab.txt").unlink()
    with pytest.raises(InputError, match="no tokenizer could be loaded"):
        cxr_jax.load(copy)


def test_what_cannot_be_exported_is_refused_before_anything_is_written(run, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "load_run", lambda _: pytest.fail("a model was loaded"))
    full, unfinished = tmp_path / "full", tmp_path / "unfinished"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    RunFolder(unfinished).start(run.load_config())
    workdir, out = ["--workdir", str(run.root)], ["--out", str(tmp_path / "new")]
    for arguments, words in (
        ([*workdir, "--out", str(full)], "--out .*full: is there already"),
        ([*workdir, "--out", str(full / "notes.txt")], "is there already"),
        (["--workdir", str(unfinished), *out], "unfinished: the run is not finished"),
        (["--workdir", str(tmp_path), *out], "holds no run"),
        (["--workdir", str(exported), *out], "is an export already"),
        ([*workdir, *out, "--license", "My own"], "--license My own: is no identifier"),
        ([*workdir, "--densenet", str(full / "notes.txt")], "--densenet .*: is there already"),
        (workdir, "--out: is missing"),
        (out, "--workdir: is missing"),
        ([*workdir, "--densenet", str(tmp_path / "d"), "--push", "me/model"], "--push: sends the folder"),
        ([*workdir, *out, "--push", "model"], "--push model: is not OWNER/NAME"),
    ):
        with pytest.raises(InputError, match=words) as error:
            export.main(arguments)
        assert "\n" not in str(error.value)
    assert {file.name for file in tmp_path.iterdir()} == {"full", "unfinished"}
    assert contents(full) == {"notes.txt"}


def test_a_folder_that_cannot_be_made_is_refused(model, run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--out .*: cannot be written"):
        export.export_model(model, run, tmp_path / "file" / "model")


def test_weights_that_are_not_finite_are_not_exported(model, run, tmp_path, monkeypatch):
    spoilt = jax.tree.map(lambda x: x * np.float32("nan"), model.variables)
    monkeypatch.setattr(model, "variables", spoilt)
    with pytest.raises(InputError, match="NaN or infinity"):
        export.export_model(model, run, tmp_path / "model")
    assert not list(tmp_path.iterdir())


class FakeHub:
    """Stands in for HfApi: notes what it is asked, and which files of the folder would go."""

    private, broken = True, False

    def __init__(self):
        self.made, self.sent = [], []
        self.__class__.last = self

    def create_repo(self, repo_id, *, private, exist_ok):
        if self.broken:
            raise OSError("403 Forbidden\nlong explanation")
        self.made.append((repo_id, private))
        return f"https://hub.example/{repo_id}"

    def repo_info(self, repo_id):
        return huggingface_hub.ModelInfo(id=repo_id, private=self.private)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, delete_patterns, commit_message):
        files = ["index/train/rows.jsonl", "model.safetensors"]
        assert list(filter_repo_objects(files, allow_patterns=delete_patterns)) == files[:1]
        self.sent += filter_repo_objects(sorted(contents(Path(folder_path))), allow_patterns=allow_patterns)


@pytest.fixture
def fake_hub(monkeypatch):
    class Fake(FakeHub):
        pass

    monkeypatch.setattr(huggingface_hub, "HfApi", Fake)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a token")
    monkeypatch.setattr(hub, "reachable", lambda: True)
    return Fake


def test_what_is_pushed(run, copy, fake_hub, tmp_path, capsys):
    export.main(["--workdir", str(run.root), "--out", str(tmp_path / "model"), "--push", "me/model"])
    assert fake_hub.last.made == [("me/model", True)]
    assert set(fake_hub.last.sent) == EXPORTED
    assert "pushed: https://hub.example/me/model (private)" in capsys.readouterr().out
    # An export that is there; what was laid beside it stays here.
    (copy / "patients.csv").write_text("mine")
    export.main(["--out", str(copy), "--push", "me/model"])
    assert set(fake_hub.last.sent) == EXPORTED


def test_a_push_that_fails_says_so_in_one_line(copy, fake_hub, monkeypatch):
    push = ["--out", str(copy), "--push", "me/model"]
    fake_hub.private = False
    with pytest.raises(InputError, match="--push me/model: is a public model, which is not written to"):
        export.main(push)
    assert fake_hub.last.sent == []
    fake_hub.broken = True
    with pytest.raises(InputError, match=r"--push me/model: the hub did not take it \(403 Forbidden\)") as error:
        export.main(push)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(hub, "reachable", lambda: False)
    with pytest.raises(InputError, match="--push me/model: the hub cannot be reached"):
        export.main(push)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(InputError, match="--push me/model: there is no token"):
        export.main(push)


def test_a_hubs_name_is_loaded_where_the_hub_answers(model, run, copy, monkeypatch):
    with pytest.raises(InputError, match="me/model: there is no such folder, and the hub cannot be reached"):
        cxr_jax.load("me/model")
    (copy / "patients.bin").write_text("not fetched")
    monkeypatch.setattr(hub, "reachable", lambda: True)

    def snapshot_download(name, *, allow_patterns, local_files_only):
        assert (name, local_files_only) == ("me/model", False)
        wanted = set(filter_repo_objects(sorted(contents(copy)), allow_patterns=allow_patterns))
        assert wanted == EXPORTED - {"README.md"}
        return str(copy)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    assert same_bits(dict(model.variables), cxr_jax.load("me/model").variables)
