import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.labels.statements import statements
from cxr_jax.server.answers import Answers, ImageQuestion, TextQuestion, marked
from cxr_jax.server.limits import RefusedError
from tests.server.standin import ODD_ID, SIDE, STUDIES, Brightness


@pytest.fixture(scope="module")
def answers():
    return Answers(Brightness())


def question(grey, method="top1", top_k=3):
    return ImageQuestion(np.full((SIDE, SIDE), grey, np.uint8), method, top_k)


@pytest.mark.parametrize(
    ("sentence", "draft", "stands"),
    [
        ("Left pleural effusion.", "Pleural effusion on the left.", "agrees"),
        ("Pleural effusion.", "Left pleural effusion.", "agrees"),
        ("Right pleural effusion.", "Left pleural effusion.", ""),
        ("No pleural effusion.", "Left pleural effusion.", "contradicts"),
        ("Left pleural effusion.", "No effusion. No pneumothorax.", "contradicts"),
        ("No pneumothorax or effusion.", "Left pleural effusion. No pneumothorax.", "contradicts"),
        ("Clear lungs.", "The heart is enlarged.", ""),
        ("Thank you for this referral.", "The heart is enlarged.", ""),
        ("The heart is enlarged.", "", ""),
    ],
)
def test_a_sentence_stands_to_a_draft(sentence, draft, stands):
    assert marked(sentence, statements(draft)) == [{"text": sentence, "stands": stands}]


def test_each_question_has_its_own_method_and_number(answers):
    questions = [question(0), question(255, "sentences", 7), question(128, "compose", 1), question(0, "consensus", 20)]
    together = answers.reports(questions)
    assert [reply["draft"]["method"] for reply in together] == ["top1", "sentences", "compose", "consensus"]
    assert [len(reply["neighbours"]) for reply in together] == [3, 7, 1, 20]
    assert together == [answers.reports([one])[0] for one in questions]
    found = answers.searches([TextQuestion("x" * 100, 2), TextQuestion("x", 4)])
    assert [len(reply["neighbours"]) for reply in found] == [2, 4]
    assert found[0]["neighbours"][0]["study_id"] == ODD_ID


def test_warming_up_meets_every_batch(answers):
    answers.model.batches.clear()
    for batch in (1, 2, 32):
        answers.warm_up(batch)
    assert answers.model.batches == [1, 2, 32]


def test_studies_are_found_by_their_ids(answers):
    assert answers.about["studies"] == STUDIES
    assert answers.study("s3")["report"] == "Clear lungs."
    assert answers.thumbnail(ODD_ID).startswith(b"\xff\xd8")
    with pytest.raises(RefusedError):
        answers.study("s")


def test_a_model_without_a_pool_cannot_be_served():
    model = Brightness()
    model._pool = None
    with pytest.raises(InputError, match="no pool of reports"):
        Answers(model)


def test_a_pool_smaller_than_the_vote():
    model = Brightness()
    whole = model._pool
    rows = [0, 1, 2]
    model._pool = type(whole)(
        "train", 1, [whole.rows[i] for i in rows], whole.image_embeddings[:3], whole.text_embeddings[:3],
        [whole.thumbnails[i] for i in rows],
    )  # fmt: skip
    for method in ("top1", "consensus", "sentences", "compose"):
        (reply,) = Answers(model).reports([question(0, method, 20)])
        assert len(reply["neighbours"]) == 3
