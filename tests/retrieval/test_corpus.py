"""Pools of one's own and of several runs, by a model with random weights."""

import json

import numpy as np
import pytest

from cxr_jax.data.notes import Notes
from cxr_jax.errors import InputError
from cxr_jax.retrieval.corpus import read_corpus, read_pool
from cxr_jax.retrieval.external import Embedder
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.training.checkpoint import identity
from tests.evaluation.runs import THUMBNAIL
from tests.retrieval.test_model import REPORTS, build


@pytest.fixture(scope="module")
def embedder():
    """Its pool: ten images of five studies."""
    model = build(0)
    rows = [Row(f"i{i}", f"S{i // 2}", f"p{i // 2}", REPORTS[i // 2], (), i // 2) for i in range(10)]
    rng = np.random.default_rng(0)
    z = rng.normal(size=(10, 16)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    pool = SplitIndex("train", 4, rows, z, z, [THUMBNAIL] * 10, checkpoint=identity(model.variables))
    return Embedder(Model(model.config, model.variables, model.tokenizer, pool), 4)


def test_a_text_file_is_a_line_a_study(tmp_path):
    (tmp_path / "a b.txt").write_text("Clear  lungs.\n\nnan\nLarge heart.\n", "utf-8")
    notes = Notes()
    rows = read_corpus(tmp_path / "a b.txt", "findings", notes)
    assert [(row.study_id, row.report) for row in rows] == [
        ("a b.txt:1", "Clear lungs."),
        ("a b.txt:4", "Large heart."),
    ]
    assert [str(note) for note in notes.all] == ["2 rows hold no report, and are left out of the pool"]


def test_a_table_may_name_studies_and_labels(tmp_path):
    lines = [{"Study ID": "7", "findings": "Edema.", "labels": ["Edema", "Mass"]}, {"findings": "None."}]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = read_corpus(tmp_path / "c.jsonl", "findings", Notes())
    assert [(row.study_id, row.report, row.labels) for row in rows] == [("7", "Edema.", ("Edema", "Mass"))]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "\n\n", "holds no report"),
        ("a.txt", "", "holds no report"),
        ("a.csv", "text\nClear.\n", "has no column report, findings or impression, only text"),
        ("a.csv", "report\n\n", "holds no report"),
        ("absent.csv", None, "no such file; name a CSV or text file of reports, a run's folder, or train"),
    ],
)
def test_what_is_no_corpus_is_refused(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=says):
        read_corpus(tmp_path / name, "findings", Notes())


def test_the_runs_own_pool_loses_the_studies_that_it_must_not_hold(embedder):
    pool, lost = read_pool(embedder, ["train"], Notes())
    assert pool is embedder.model.pool
    assert lost == 0
    pool, lost = read_pool(embedder, ["train"], Notes(), ["s1", "other", "S004"])
    assert lost == 2
    assert [row.study_id for row in pool.rows] == ["S0", "S0", "S2", "S2", "S3", "S3"]
    np.testing.assert_array_equal(pool.image_embeddings, embedder.model.pool.image_embeddings[[0, 1, 4, 5, 6, 7]])
    with pytest.raises(InputError, match="all 5 studies of the pool are in the set itself"):
        read_pool(embedder, ["train"], Notes(), [f"S{i}" for i in range(5)])


def test_several_sources_are_joined_and_embedded_anew(embedder, tmp_path):
    other = [Row("x", "S0", "q", REPORTS[0], (), 0), Row("y", "S1", "q", "the heart is round", (), 1)]
    other.append(Row("z", "S9", "r", "the lungs are clear", (), 2))
    z = np.eye(16, dtype=np.float32)[:3]
    SplitIndex("train", 9, other, z, z, [THUMBNAIL] * 3, checkpoint="another").save(tmp_path / "run" / "index")
    (tmp_path / "c.txt").write_text("the lungs are clear\n")
    names = ["train", str(tmp_path / "run"), str(tmp_path / "c.txt")]
    pool, lost = read_pool(embedder, names, Notes(), ["s9"])
    assert lost == 1
    # S0's report is the same in both; S1 is another study there.
    ids = ["S0", "S1", "S2", "S3", "S4", "S1 (2)", "c.txt:1"]
    assert [row.study_id for row in pool.rows] == ids
    assert pool.name == " + ".join(names)
    texts = embedder.model.encode_text([row.report for row in pool.rows])
    np.testing.assert_allclose(pool.text_embeddings, texts, atol=1e-5)
    model = embedder.model.with_pool(pool)
    found = model.retrieve_each([np.full((40, 40), 90, np.uint8)], top_k=7)[0]
    assert sorted(neighbour.row.study_id for neighbour in found) == sorted(ids)
    with pytest.raises(InputError, match="holds reports without images"):
        model.retrieve_images("the heart")


def test_an_image_and_a_text_as_one_query(embedder):
    model, picture = embedder.model, np.arange(1600, dtype=np.uint8).reshape(40, 40)
    z_v, z_t = model.encode_image(picture), model.encode_text("the heart is round")
    for text, query in (("", z_v), ("the heart is round", (z_v + z_t) / np.linalg.norm(z_v + z_t))):
        found = model.retrieve_each([picture], 5, find="images", text=text)[0]
        cosines = (query @ model.pool.image_embeddings[::2].T)[0]
        assert [neighbour.row.study_id for neighbour in found] == [f"S{i}" for i in np.argsort(-cosines)]
        np.testing.assert_allclose([n.similarity for n in found], np.sort(cosines)[::-1], atol=1e-5)
