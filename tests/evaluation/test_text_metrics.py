"""BLEU and ROUGE-L: numbers from pycocoevalcap, R2Gen's protocol by hand, the bootstrap against recounting."""

import json
import time

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation import score_reports
from cxr_jax.evaluation.label_metrics import finding_f1
from cxr_jax.evaluation.text_metrics import (
    PROTOCOLS,
    SCORES,
    bootstrap_intervals,
    check_reports,
    clean_r2gen,
    pair_statistics,
    report_preparers,
    resampled_scores,
)
from cxr_jax.labels.rules import rule_labels

# Made-up reports, already lower-case and split at spaces, so that "raw" hands them on as they are.
GOLDEN_REFERENCES = [
    "the heart is normal in size . the lungs are clear . no pleural effusion or pneumothorax .",
    "mild cardiomegaly . there is a small left pleural effusion . no focal consolidation .",
    "the lungs are hyperinflated with flattened diaphragms . no acute disease .",
    "a right upper lobe nodule measures eight millimeters . heart size is normal .",
    "no acute cardiopulmonary abnormality .",
]
GOLDEN_SYSTEMS = {
    "constant": ["the heart is normal in size . the lungs are clear . no acute disease ."] * 5,
    "shifted": GOLDEN_REFERENCES[1:] + GOLDEN_REFERENCES[:1],
    "clipped": [
        "the the the lungs lungs are clear clear . no no effusion effusion .",
        "there is a small left pleural effusion . there is a small right pleural effusion . mild cardiomegaly .",
        "hyperinflated lungs . the diaphragms are flattened with no acute disease .",
        "heart size is normal . a right upper lobe nodule .",
        "no acute cardiopulmonary abnormality .",
    ],
}
# bleu_1 to bleu_4 and rouge_l by pycocoevalcap 1.2; made by `python - <<END` of, for each system `predictions`:
#   gold, found = ({i: [text] for i, text in enumerate(texts)} for texts in (GOLDEN_REFERENCES, predictions))
#   Bleu(4).compute_score(gold, found)[0] + [Rouge().compute_score(gold, found)[0]]
# To be changed only together with the texts above.
GOLDEN_SCORES = {
    "constant": [0.45, 0.354965, 0.3, 0.26571, 0.449285],
    "shifted": [0.234375, 0.109167, 0.000001, 0.0, 0.180602],
    "clipped": [0.764729, 0.624512, 0.534717, 0.45035, 0.628831],
}


@pytest.fixture(scope="module")
def splits(shared):
    """R2Gen's train, val and test reports."""
    annotation = json.loads((shared / "data/iu_xray/r2gen_annotation.json").read_text())
    return [[example["report"] for example in annotation[split]] for split in ("train", "val", "test")]


def random_reports(seed, count=30, words=4, longest=25):
    """Reports over a small vocabulary, so that n-grams of every order match now and then; some are empty."""
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(words, size=rng.integers(longest))) for _ in range(count)]


@pytest.mark.parametrize("system", GOLDEN_SYSTEMS)
def test_scores_equal_pycocoevalcap(system):
    scores = score_reports(GOLDEN_REFERENCES, GOLDEN_SYSTEMS[system], protocol="raw")
    assert tuple(scores) == SCORES
    np.testing.assert_allclose(list(scores.values())[:5], GOLDEN_SCORES[system], atol=1e-4)


def test_scores_equal_an_installed_pycocoevalcap(splits):
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu")
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge")
    train, _, references = splits
    rng = np.random.default_rng(0)
    systems = {
        "random": [train[i] for i in rng.integers(len(train), size=len(references))],
        "rotated": references[1:] + references[:1],
        "words dropped": [" ".join(w for w in report.split() if rng.random() < 0.6) for report in references],
    }
    prepare_reference, prepare_prediction = report_preparers("r2gen", train)
    gold = {i: [prepare_reference(report)] for i, report in enumerate(references)}
    for name, predictions in systems.items():
        found = {i: [prepare_prediction(report)] for i, report in enumerate(predictions)}
        expected = bleu.Bleu(4).compute_score(gold, found, verbose=0)[0] + [rouge.Rouge().compute_score(gold, found)[0]]
        scores = score_reports(references, predictions, train_reports=train)
        np.testing.assert_allclose(list(scores.values())[:5], expected, atol=1e-4, err_msg=name)


def test_a_perfect_and_a_disjoint_system():
    assert score_reports(GOLDEN_REFERENCES, GOLDEN_REFERENCES, "raw") == pytest.approx(dict.fromkeys(SCORES, 1.0))
    assert score_reports(["large effusion ."], ["qqq zzz"], "raw") == dict.fromkeys(SCORES, 0.0)


def test_rule_f1_is_of_the_reports_as_written_whatever_the_protocol():
    references = ["No effusion. Mild cardiomegaly.", "Left effusion; 2. old fractures.", "The lungs are clear."]
    predictions = ["Cardiomegaly, stable.", "Left pneumothorax. No effusion.", "Possible edema."]
    expected = finding_f1(rule_labels(references), rule_labels(predictions))
    for protocol in PROTOCOLS:
        scores = score_reports(references, predictions, protocol, references)
        intervals = bootstrap_intervals(references, predictions, protocol, references)
        for kind in ("micro", "macro"):
            assert scores[f"rule_f1_{kind}"] == pytest.approx(expected[kind])
            assert intervals[f"rule_f1_{kind}"] == pytest.approx(expected["intervals"][kind])
    assert 0 < scores["rule_f1_macro"] < 1


def test_empty_predictions_earn_nothing():
    assert score_reports(GOLDEN_REFERENCES, [""] * 5, "raw") == dict.fromkeys(SCORES, 0.0)
    whole = score_reports(GOLDEN_REFERENCES, GOLDEN_REFERENCES, "raw")
    holed = score_reports(GOLDEN_REFERENCES, [*GOLDEN_REFERENCES[:4], ""], "raw")
    assert holed["rouge_l"] == pytest.approx(0.8 * whole["rouge_l"])
    assert holed["bleu_1"] < whole["bleu_1"]


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


def test_unknown_words_match_each_other_under_r2gen():
    train = ["lungs clear"] * 3
    assert score_reports(["lungs hazy"] * 2, ["lungs opaque"] * 2, train_reports=train)["bleu_3"] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_resampled_statistics_equal_scoring_the_resampled_lists(seed):
    references, predictions = random_reports(seed), random_reports(seed + 100)
    statistics = pair_statistics(references, predictions, "raw")
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(references), size=(20, len(references)))
    weights = np.array([np.bincount(draw, minlength=len(references)) for draw in draws])
    fast = resampled_scores(statistics, weights)
    for draw, scores in zip(draws, fast, strict=True):
        slow = score_reports([references[i] for i in draw], [predictions[i] for i in draw], "raw")
        np.testing.assert_allclose(scores, list(slow.values()), atol=1e-12)
    assert fast[:, 3].max() > 0  # BLEU-4 is not compared at 0 alone


def test_statistics_of_predictions_without_long_ngrams():
    statistics = pair_statistics(["a b", "c d"], ["a b", "c"], "raw")
    scores = resampled_scores(statistics, np.ones((1, 2), int))[0]
    np.testing.assert_allclose(scores, list(score_reports(["a b", "c d"], ["a b", "c"], "raw").values()), atol=1e-12)


def test_intervals_hold_the_score_and_shrink_with_the_sample():
    references, predictions = random_reports(1, count=60), random_reports(2, count=60)
    scores = score_reports(references, predictions, "raw")
    small = bootstrap_intervals(references, predictions, "raw")
    large = bootstrap_intervals(references * 16, predictions * 16, "raw")
    for name in ("bleu_1", "rouge_l"):
        assert small[name][0] < scores[name] < small[name][1]
        # 16 times the sample: a quarter of the width.
        assert np.diff(large[name]) / np.diff(small[name]) == pytest.approx(0.25, abs=0.05)
    assert small == bootstrap_intervals(references, predictions, "raw")
    assert small != bootstrap_intervals(references, predictions, "raw", seed=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["a"], ["a", "b"], "raw"), "2 for 1 references"),
        (([], [], "raw"), "no reports"),
        ((["a"], ["a"], "coco"), "'coco' is unknown; choose one of r2gen, raw"),
        ((["a"], ["a"], "r2gen"), "train_reports"),
        ((["a"], ["a"], "r2gen", []), "train_reports"),
        (("a", "a", "raw"), "references: got one string"),
    ],
)
@pytest.mark.parametrize("function", [score_reports, bootstrap_intervals])
def test_bad_input_is_one_line(function, arguments, words):
    with pytest.raises(InputError, match=words) as error:
        function(*arguments)
    assert "\n" not in str(error.value)


def test_a_report_that_is_no_string_is_named():
    # Not through score_reports: there the tests' type checker speaks first.
    with pytest.raises(InputError, match=r"predictions\[1\]: got NoneType; pass a string"):
        check_reports("predictions", ["a", None])


def test_real_reports_are_scored_within_two_seconds_and_as_measured(splits):
    train, _, references = splits
    most_frequent = "The heart is normal in size. The mediastinum is unremarkable. The lungs are clear."
    start = time.process_time()
    scores = score_reports(references, [most_frequent] * len(references), train_reports=train)
    bootstrap_intervals(references, references[::-1], train_reports=train)
    assert time.process_time() - start < 4
    # DESIGN.md section 6, "most frequent training report".
    np.testing.assert_allclose(list(scores.values())[:5], [0.242, 0.147, 0.106, 0.081, 0.312], atol=6e-4)
