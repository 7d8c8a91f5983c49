"""What the protocols do to a report: R2Gen's by hand, letter by letter."""

import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.protocols import check_reports, clean_r2gen, report_preparers


@pytest.mark.parametrize(
    ("report", "cleaned"),
    [
        ("The heart is NORMAL. Lungs clear.", "the heart is normal . lungs clear ."),
        ("No effusion... Clear", "no effusion . clear ."),
        # List numbers 1 to 5 go, with or without a sentence end before them; 6 stays.
        ("1. Normal heart. 2. Clear lungs. 6. Spine", "normal heart . clear lungs . 6 . spine ."),
        ("Findings 2. Clear", "findings . clear ."),
        # The hyphen survives R2Gen's character class, the range from ":" to "[" in it does not.
        ("Well-aerated; (T-spine) <XXXX> a=b?", "well-aerated t-spine xxxx ab ."),
        ("\"Mild\" and/or 'old' 50% & 3.5 cm", "mild andor old 50 35 cm ."),
        # Sentences are split at ". " alone, so the point before a line break disappears.
        ("Clear.\nNormal.", "clear normal ."),
        ("", "."),
    ],
)
def test_cleaning_is_r2gens(report, cleaned):
    assert clean_r2gen(report) == cleaned


def test_r2gen_replaces_rare_words_and_cuts_references_only():
    train = ["lungs clear", "lungs clear", "lungs hazy", "heart big"]
    reference, prediction = report_preparers("r2gen", train)
    # "clear" is seen twice: too rare. "." is seen four times.
    assert reference("Lungs clear") == prediction("Lungs clear") == "lungs <unk> ."
    long = "lungs " * 70
    assert reference(long).split() == ["lungs"] * 59
    assert prediction(long).split() == ["lungs"] * 70 + ["."]


def test_the_other_protocols_treat_both_sides_alike():
    for protocol, prepared in {"raw": "t-spine 3.5 cm.", "paper": "t spine 3 5 cm"}.items():
        reference, prediction = report_preparers(protocol)
        assert reference("T-spine\n3.5  cm.") == prediction("T-spine\n3.5  cm.") == prepared


def test_a_report_that_is_no_string_is_named():
    # Not through score_reports: there the tests' type checker speaks first.
    with pytest.raises(InputError, match=r"predictions\[1\]: got NoneType; pass a string"):
        check_reports("predictions", ["a", None])


@pytest.mark.parametrize(
    ("report", "cleaned"),
    [
        ("right rib 4 3. No effusion", "right rib . no effusion ."),  # as R2Gen's replacements come to it, one by one
        ("x 3 2. y", "x . y ."),
        ("a 5 4 3 2. b", "a . b ."),
        ("Clear. 2. Normal. 3. Stable", "clear . normal . stable ."),
        ("in 2.5 cm", "in 25 cm ."),
    ],
)
def test_numbers_that_a_replacement_leaves_are_replaced_too(report, cleaned):
    assert clean_r2gen(report) == cleaned
