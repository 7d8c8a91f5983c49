"""Two systems compared: by hand, against themselves, and how often chance is taken for a difference."""

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation.comparison import compare
from cxr_jax.evaluation.label_metrics import macro_f1
from cxr_jax.evaluation.text_metrics import score_reports

TRAIN = ["The lungs are clear.", "Large left effusion.", "The heart is enlarged.", "Normal chest."]
WORDS = ("edema", "w1", "w2", "effusion", "w4", "w5")


def random_lines(seed, count=40, skill=0.0):
    """A system that gives the reference in a share `skill` of the cases, and words of the same kind in the others."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0)
    lines = []
    for i in range(count):
        reference = " ".join(WORDS[j] for j in truth.integers(6, size=8))
        guess = reference if rng.random() < skill else " ".join(WORDS[j] for j in rng.integers(6, size=8))
        labels, guessed = [f"f{truth.integers(3)}"], [f"f{rng.integers(3)}"]
        lines.append({"study_id": f"s{i}", "image_id": f"i{i}", "reference": reference, "prediction": guess}
                     | {"labels": labels, "predicted_labels": labels if guess == reference else guessed})  # fmt: skip
    return lines


def test_the_difference_is_that_of_the_scores_and_changes_sign_with_the_order():
    a, b = random_lines(1, skill=0.5), random_lines(2)
    differences, swapped = compare(a, b[::-1], "raw", TRAIN), compare(b, a, "raw", TRAIN)
    references = [line["reference"] for line in a]
    scores = [score_reports(references, [line["prediction"] for line in system], "raw") for system in (a, b)]
    for name in scores[0]:
        assert differences[name]["difference"] == pytest.approx(scores[0][name] - scores[1][name])
        assert differences[name]["difference"] == pytest.approx(-swapped[name]["difference"])
        assert differences[name]["interval"] == pytest.approx([-x for x in swapped[name]["interval"][::-1]])
        low, high = differences[name]["interval"]
        # The rules read one observation here, an effusion, and none of its reports speaks of a prior study.
        assert low < differences[name]["difference"] < high or low == high == 0
    labels = [line["labels"] for line in a]
    f1 = [macro_f1(labels, [line["predicted_labels"] for line in system]) for system in (a, b)]
    assert differences["finding_f1_macro"]["difference"] == pytest.approx(f1[0] - f1[1])
    assert differences["bleu_4"]["p"] < 0.05


def test_a_system_does_not_differ_from_itself():
    differences = compare(random_lines(1), random_lines(1), "raw", TRAIN)
    assert all(score["difference"] == 0 and score["p"] == 1 for score in differences.values())


def test_two_systems_of_one_kind_seldom_differ_by_chance():
    pairs = [compare(random_lines(2 * s + 3), random_lines(2 * s + 4), "raw", TRAIN) for s in range(30)]
    assert sum(pair["rouge_l"]["p"] < 0.05 for pair in pairs) <= 5


def test_runs_on_other_images_or_references_are_not_compared():
    lines = random_lines(1)
    with pytest.raises(InputError, match=r"different images \(40 and 39\): the other one lacks 1, i0 for one"):
        compare(lines, lines[1:], "raw", TRAIN)
    with pytest.raises(InputError, match=r"different images \(39 and 40\): this one lacks 1, i0 for one"):
        compare(lines[1:], lines, "raw", TRAIN)
    with pytest.raises(InputError, match=r"some images more than once \(41 and 40 lines of 40\)"):
        compare([*lines, lines[0]], lines, "raw", TRAIN)
    with pytest.raises(InputError, match=r"different references \(i0 for one\)"):
        compare(lines, [{**line, "reference": "other"} for line in lines], "raw", TRAIN)


def test_lines_without_a_reference_are_not_compared():
    lines = random_lines(1)
    others = [{key: value for key, value in line.items() if key != "reference"} for line in lines]
    with pytest.raises(InputError, match="a line has no reference to compare by"):
        compare(lines, others, "raw", TRAIN)
