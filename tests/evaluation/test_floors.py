"""The floors: each fast count against the scorer itself, the search against trying everything, labels beside them."""

import json
import time

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation import score_reports
from cxr_jax.evaluation.floors import Pool, best_constant, constant_bleu, constant_rouge_l
from cxr_jax.evaluation.floors import floors as floors_of
from cxr_jax.evaluation.label_metrics import macro_f1
from cxr_jax.evaluation.text_metrics import ReportScorer, rouge_l, score_names


def random_reports(seed, count, words=8, longest=30):
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(words, size=rng.integers(longest))) for _ in range(count)]


def floors(train, val, references, protocol, train_labels=None, reference_labels=None, **more):
    scorer = ReportScorer(references, protocol, train)
    return floors_of(scorer, Pool(train, val, train_labels), reference_labels, **more)


CANDIDATES, REFERENCES = random_reports(0, 25), [*random_reports(1, 15), "w1 " * 80, ""]


def test_constant_bleu_equals_the_scorer():
    for candidate, fast in zip(CANDIDATES, constant_bleu(CANDIDATES, REFERENCES), strict=True):
        slow = score_reports(REFERENCES, [candidate] * len(REFERENCES), "raw")
        np.testing.assert_allclose(fast, [slow[f"bleu_{n}"] for n in range(1, 5)], atol=1e-12)


def test_constant_rouge_l_equals_the_scorer():
    for candidate, fast in zip(CANDIDATES, constant_rouge_l(CANDIDATES, REFERENCES), strict=True):
        assert fast == pytest.approx(rouge_l(REFERENCES, [candidate] * len(REFERENCES)).mean())


@pytest.mark.parametrize("seed", range(2, 8))
def test_the_constant_is_the_best_of_all_candidates(seed):
    references = random_reports(seed, 6, words=3)
    candidates = [*random_reports(seed + 100, 12, words=3), "w0 w1 w2 w0"]

    def scores(candidate):
        return score_reports(references, [candidate] * len(references), "raw")

    best = max(scores(candidate)["bleu_4"] + scores(candidate)["rouge_l"] for candidate in candidates)
    chosen = scores(best_constant(candidates, references))
    assert chosen["bleu_4"] + chosen["rouge_l"] == pytest.approx(best)


TRAIN = ["Lungs clear. Heart normal."] * 3 + ["Large effusion on the left.", "Lungs clear. Heart big."]
TRAIN_LABELS = [{"normal"}, {"normal"}, set(), {"effusion"}, {"cardiomegaly"}]
TEST = ["Lungs clear. Heart normal.", "Large effusion on the left."]
TEST_LABELS = [{"normal"}, {"effusion"}]


def test_constant_and_most_frequent_are_scored_as_they_stand():
    result = floors(TRAIN, ["Lungs clear. Heart big."], TEST, "raw")
    assert tuple(result) == ("random_report", "constant_report", "most_frequent_report")
    assert all(tuple(scores) == score_names() for scores in result.values())
    # The validation report decides the constant, not the test reports.
    assert result["constant_report"] == pytest.approx(score_reports(TEST, ["Lungs clear. Heart big."] * 2, "raw"))
    assert result["most_frequent_report"] == pytest.approx(score_reports(TEST, TRAIN[:1] * 2, "raw"))


def test_random_reports_are_the_mean_of_the_seeds():
    draws = [np.random.default_rng(seed).integers(len(TRAIN), size=2) for seed in range(3)]
    expected = [score_reports(TEST, [TRAIN[i] for i in draw], "raw")["rouge_l"] for draw in draws]
    result = floors(TRAIN, TEST, TEST, "raw", TRAIN_LABELS, TEST_LABELS, seeds=3)["random_report"]
    assert result["rouge_l"] == pytest.approx(np.mean(expected))
    expected = [macro_f1(TEST_LABELS, [TRAIN_LABELS[i] for i in draw]) for draw in draws]
    assert result["finding_f1_macro"] == pytest.approx(np.mean(expected))
    assert len(set(expected)) > 1


def test_a_random_report_of_the_same_class_is_normal_for_the_normal():
    train = [*TRAIN, "Normal chest."] * 3
    labels = [{"effusion"}, {"effusion"}, {"effusion"}, {"effusion"}, {"effusion"}, set()] * 3
    result = floors(train, TEST, ["Normal chest."] * 4 + TEST[1:], "raw", labels, [set()] * 4 + [{"effusion"}])
    assert result["random_same_class_report"]["finding_f1_macro"] == 1
    # Four of five references are "Normal chest.", and that is the one normal training report.
    assert result["random_same_class_report"]["rouge_l"] >= 0.8 > result["random_report"]["rouge_l"]


def test_a_class_that_training_lacks_is_drawn_from_all():
    result = floors(TRAIN, TEST, TEST, "raw", [{"effusion"}] * 5, [set(), {"effusion"}])
    assert result["random_same_class_report"] == result["random_report"]


def test_a_repeated_report_stands_for_its_usual_labels():
    result = floors(TRAIN, TEST[:1], TEST, "raw", TRAIN_LABELS, TEST_LABELS)
    # {"normal"} twice, the empty set once: "normal" everywhere is F1 2/3 for it and 0 for the effusion.
    assert result["most_frequent_report"]["finding_f1_macro"] == pytest.approx((2 / 3 + 0) / 2)
    assert result["constant_report"]["finding_f1_macro"] == pytest.approx((2 / 3 + 0) / 2)


def test_floors_use_the_training_vocabulary_under_r2gen():
    result = floors(TRAIN, TEST, TEST, "r2gen")
    expected = score_reports(TEST, TRAIN[:1] * 2, "r2gen", TRAIN)
    assert result["most_frequent_report"] == pytest.approx(expected)
    assert expected != pytest.approx(score_reports(TEST, TRAIN[:1] * 2, "raw"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], TEST, TEST, "raw"), "train_reports: no reports"),
        ((TRAIN, [], TEST, "raw"), "val_references: no reports"),
        ((TRAIN, TEST, [], "raw"), "references: no reports"),
        ((TRAIN, TEST, TEST, "coco"), "'coco' is unknown"),
        ((TRAIN, TEST, TEST, "raw", TRAIN_LABELS[1:], TEST_LABELS), "train_labels: 4 label sets for 5 reports"),
        ((TRAIN, TEST, TEST, "raw", TRAIN_LABELS, TEST_LABELS[1:]), "reference_labels: 1 label sets for 2 reports"),
    ],
)
def test_bad_input_is_one_line(arguments, words):
    with pytest.raises(InputError, match=words) as error:
        floors(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_floors_of_r2gens_split_are_the_measured_ones(shared):
    annotation = json.loads((shared / "data/iu_xray/r2gen_annotation.json").read_text())
    train, val, test = ([study["report"] for study in annotation[split]] for split in ("train", "val", "test"))
    start = time.process_time()
    result = floors(train, val, test, "r2gen")
    assert time.process_time() - start < 20

    def row(name):
        return list(result[name].values())[:5]

    # DESIGN.md section 6. The random row moves by .007 with the seed. The constant there came from a narrower search:
    # .490 .318 .216 .149 .356; the best of all training reports on val reaches what is written here.
    np.testing.assert_allclose(row("most_frequent_report"), [0.242, 0.147, 0.106, 0.081, 0.312], atol=6e-4)
    np.testing.assert_allclose(row("random_report"), [0.374, 0.213, 0.135, 0.091, 0.290], atol=0.02)
    np.testing.assert_allclose(row("constant_report"), [0.500, 0.338, 0.240, 0.172, 0.363], atol=6e-4)
