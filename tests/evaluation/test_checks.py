"""Each check on data whose fault is planted; those of leaks are in test_audit."""

import dataclasses

import numpy as np
import pytest

from cxr_jax.data.notes import Notes
from cxr_jax.errors import InputError
from cxr_jax.evaluation.audit import audit
from cxr_jax.evaluation.audit_tables import audit_tables
from cxr_jax.evaluation.checks import CHECKS, Tokens, failures, parse_limits
from cxr_jax.phantom.drawing import draw_study
from tests.evaluation.test_audit import split_of

CLEAR = "The lungs are clear."


def checks_of(splits, **more):
    result = audit(splits, **more)
    assert result["checks"].keys() == CHECKS.keys()
    assert [row[0] for row in audit_tables(result)["Checks"].rows] == list(CHECKS)
    return {name: (check["count"], check["of"], check["examples"]) for name, check in result["checks"].items()}


def test_pictures():
    frontal, lateral = draw_study((), [3, 1], 64)
    faint = (100 + frontal / 16).astype(np.uint8)
    clipped = np.where(frontal > 90, 255, frontal)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    pixels = [frontal, lateral, lateral, 255 - frontal, clipped, noise, faint, np.zeros_like(frontal)]
    train = split_of("train", [CLEAR] * len(pixels), pixels)
    train = dataclasses.replace(train, views=["", "", "lateral", *[""] * 5])
    val = dataclasses.replace(split_of("val", [CLEAR], [frontal]), unreadable={"a.png": "damaged", "b.png": "gone"})
    found = checks_of({"train": train, "val": val})
    assert found["lateral_images"] == (1, 9, ("train1.png",))
    assert found["inverted_images"] == (1, 9, ("train3.png",))
    assert found["saturated_images"] == (1, 9, ("train4.png",))
    assert found["no_chest_images"] == (1, 9, ("train5.png",))
    assert found["flat_images"] == (1, 9, ("train6.png",))
    assert found["blank_images"] == (1, 9, ("train7.png",))
    assert found["unreadable_images"] == (2, 11, ("a.png", "b.png"))


def test_reports():
    texts = [
        CLEAR,
        CLEAR,
        "Pas de pneumothorax ni pleur\u00e9sie.",
        "Stable cardiomegaly.",
        "XXXX",
        "cardiomegaly stable",
    ]
    found = checks_of({"train": split_of("train", texts), "val": split_of("val", [CLEAR])})
    assert found["unread_reports"] == (2, 7, ("train2", "train4"))
    assert found["prior_mentions"] == (2, 7, ("train3", "train5"))
    assert found["unknown_words"] == (2, 7, ("train2", "train4"))
    assert found["cut_reports"] == found["unknown_tokens"] == (None, None, ("no tokenizer",))


def test_tokens():
    splits = {"train": split_of("train", [CLEAR] * 3), "val": split_of("val", [CLEAR])}
    tokens = {"train": Tokens([8, 9, 20], [0, 0, 3]), "val": Tokens([10], [1])}
    found = checks_of(splits, tokens=tokens, max_tokens=8)
    assert found["cut_reports"] == (3, 4, ("train1", "train2", "val0"))
    assert found["unknown_tokens"] == (1, 4, ("train2",))


def test_what_reading_the_source_has_found():
    notes = Notes()
    for number in range(5):
        notes.add("rows have no report", f"{number}", check="placeholders")
    notes.add("cells count as blank", "nan", count=2, check="placeholders")
    notes.add("ids end in .0", "'1.0'", check="id_forms")
    notes.add("of no check", "x")
    splits = {"train": split_of("train", [CLEAR]), "val": split_of("val", [CLEAR])}
    found = checks_of(splits, notes=notes.all)
    assert found["placeholders"] == (7, None, ("0", "1", "2", "\u2026"))
    assert found["id_forms"] == (1, None, ("'1.0'",))
    assert found["label_forms"] == found["clashing_reports"] == (0, None, ())


FOUND = {name: {"count": 0, "of": 10, "examples": ()} for name in CHECKS} | {
    "near_copies": {"count": 3, "of": 10, "examples": ()},
    "cut_reports": {"count": None, "of": None, "examples": ("no tokenizer",)},
    "placeholders": {"count": 2, "of": None, "examples": ()},
}


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        ([], []),
        (["near_copies"], ["near_copies: 3"]),
        (["near_copies>3", "near_copies>30%"], []),
        (["near_copies>2", "blank_images"], ["near_copies: 3"]),
        (["near_copies>29%"], ["near_copies: 3"]),
        (["any"], ["placeholders: 2", "cut_reports: not counted", "near_copies: 3"]),
        (["any", "near_copies>5", "cut_reports>100%"], ["placeholders: 2", "cut_reports: not counted"]),
    ],
)
def test_a_gate_fails_on_what_is_more_than_it_may(given, failed):
    assert failures(FOUND, parse_limits(given)) == failed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing", "--fail_on nothing: there is no check 'nothing'; it is any, or of unreadable_images, "),
        ("near_copies>many", "--fail_on near_copies>many: 'many' is no number; write near_copies>10 or near_copies>5%"),
    ],
)
def test_a_gate_of_another_name_is_refused(given, message):
    with pytest.raises(InputError) as error:
        parse_limits([given])
    assert str(error.value).startswith(message)
