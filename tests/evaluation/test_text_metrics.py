"""BLEU and ROUGE-L: numbers from pycocoevalcap, sacrebleu and rouge-score, the bootstrap against recounting."""

import json
import re
import time

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from cxr_jax.errors import InputError
from cxr_jax.evaluation import score_reports
from cxr_jax.evaluation.label_metrics import finding_f1
from cxr_jax.evaluation.protocols import PROTOCOLS, report_preparers
from cxr_jax.evaluation.text_metrics import (
    ReportScorer,
    resampled_scores,
    sample_scores,
    score_intervals,
    score_names,
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
#   gold, given = ({i: [text] for i, text in enumerate(texts)} for texts in (GOLDEN_REFERENCES, predictions))
#   Bleu(4).compute_score(gold, given)[0] + [Rouge().compute_score(gold, given)[0]]
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


def random_reports(seed, count=30, words=("lungs", "normal", "edema", "."), longest=25):
    """Reports over a small vocabulary, so that n-grams of every order match now and then; some are empty."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, size=rng.integers(longest))) for _ in range(count)]


@pytest.mark.parametrize("system", GOLDEN_SYSTEMS)
def test_scores_equal_pycocoevalcap(system):
    scores = score_reports(GOLDEN_REFERENCES, GOLDEN_SYSTEMS[system], protocol="raw")
    assert tuple(scores) == score_names()
    np.testing.assert_allclose(list(scores.values())[:5], GOLDEN_SCORES[system], atol=1e-4)


@pytest.fixture(scope="module")
def prepared_systems(splits):
    """R2Gen's test reports and three systems' answers as "r2gen" prepares them; "raw" hands them on as they are."""
    train, _, references = splits
    rng = np.random.default_rng(0)
    systems = {
        "random": [train[i] for i in rng.integers(len(train), size=len(references))],
        "rotated": references[1:] + references[:1],
        "words dropped": [" ".join(w for w in report.split() if rng.random() < 0.6) for report in references],
    }
    prepare_reference, prepare_prediction = report_preparers("r2gen", train)
    gold = [prepare_reference(report) for report in references]
    return gold, {name: [prepare_prediction(report) for report in system] for name, system in systems.items()}


@pytest.fixture(scope="module")
def scores_of_systems(prepared_systems):
    references, systems = prepared_systems
    return {name: score_reports(references, system, "raw", meteor="exact_stem") for name, system in systems.items()}


def test_scores_equal_an_installed_pycocoevalcap(prepared_systems, scores_of_systems):
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu")
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge")
    references, systems = prepared_systems
    gold = {i: [report] for i, report in enumerate(references)}
    for name, predictions in systems.items():
        given = {i: [report] for i, report in enumerate(predictions)}
        expected = bleu.Bleu(4).compute_score(gold, given, verbose=0)[0] + [rouge.Rouge().compute_score(gold, given)[0]]
        np.testing.assert_allclose(list(scores_of_systems[name].values())[:5], expected, atol=1e-4, err_msg=name)


def test_bleu_equals_sacrebleus_own_corpus_score(prepared_systems, scores_of_systems):
    references, systems = prepared_systems
    for order in range(1, 5):
        bleu = BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)
        for name, predictions in systems.items():
            own = bleu.corpus_score(predictions, [references]).score / 100
            assert scores_of_systems[name][f"bleu_{order}"] == pytest.approx(own, rel=1e-12)


def test_rouge_l_is_made_of_rouge_scores_own_precision_and_recall(prepared_systems, scores_of_systems):
    """Without capitals, digits in words and punctuation in them its own tokenizer is ours."""
    references, systems = ([re.sub(r"[^a-z ]", "", text) for text in texts] for texts in (
        prepared_systems[0], prepared_systems[1]["random"]
    ))  # fmt: skip
    scorer = RougeScorer(["rougeL"])
    expected = []
    for reference, prediction in zip(references, systems, strict=True):
        precision, recall, _ = scorer.score(reference, prediction)["rougeL"]
        top = (1 + 1.2**2) * precision * recall
        expected.append(top / (recall + 1.2**2 * precision) if top else 0.0)
    assert score_reports(references, systems, "raw")["rouge_l"] == pytest.approx(np.mean(expected), rel=1e-12)


def test_a_perfect_and_a_disjoint_system():
    perfect = score_reports(GOLDEN_REFERENCES, GOLDEN_REFERENCES, "raw")
    assert perfect.pop("cider") == pytest.approx(10)
    assert perfect.pop("prior_share") == 0
    # The eight of five and fourteen average over observations that these reports lack: see test_label_policies.
    assert all(score == pytest.approx(1) for name, score in perfect.items() if "[" not in name)
    assert score_reports(["large effusion ."], ["qqq zzz"], "raw") == dict.fromkeys(score_names(), 0.0)


def test_rule_f1_is_of_the_reports_as_written_whatever_the_protocol():
    references = ["No effusion. Mild cardiomegaly.", "Left effusion; 2. old fractures.", "The lungs are clear."]
    predictions = ["Cardiomegaly, stable.", "Left pneumothorax. No effusion.", "Possible edema."]
    expected = finding_f1(rule_labels(references), rule_labels(predictions))
    for protocol in PROTOCOLS:
        statistics = ReportScorer(references, protocol, references).statistics(predictions)
        scores, intervals = sample_scores(statistics), score_intervals(statistics)
        for kind in ("micro", "macro"):
            assert scores[f"rule_f1_{kind}"] == pytest.approx(expected[kind])
            assert intervals[f"rule_f1_{kind}"] == pytest.approx(expected["intervals"][kind])
    assert 0 < scores["rule_f1_macro"] < 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("nothing", ["", " \n", ".", "...", " . , ", "-", "\u2026", "_ _"])
def test_empty_predictions_earn_nothing(protocol, nothing):
    """R2Gen's cleaning ends every report with " .", an empty one too, which every reference holds."""
    references = [f"{report} ." for report in GOLDEN_REFERENCES]
    for meteor in ("auto", "exact_stem"):
        scores = score_reports(references, [nothing] * 5, protocol, references * 3, meteor)
        assert scores == dict.fromkeys(score_names(meteor), 0.0)


def test_one_empty_prediction_takes_its_share():
    whole = score_reports(GOLDEN_REFERENCES, GOLDEN_REFERENCES, "raw")
    holed = score_reports(GOLDEN_REFERENCES, [*GOLDEN_REFERENCES[:4], ""], "raw")
    assert holed["rouge_l"] == pytest.approx(0.8 * whole["rouge_l"])
    assert holed["bleu_1"] < whole["bleu_1"]


def test_unknown_words_match_each_other_under_r2gen():
    train = ["lungs clear"] * 3
    assert score_reports(["lungs hazy"] * 2, ["lungs opaque"] * 2, train_reports=train)["bleu_3"] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_resampled_statistics_equal_scoring_the_resampled_lists(seed):
    references, predictions = random_reports(seed), random_reports(seed + 100)
    statistics = ReportScorer(references, "raw").statistics(predictions)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(references), size=(20, len(references)))
    weights = np.array([np.bincount(draw, minlength=len(references)) for draw in draws])
    fast = resampled_scores(statistics, weights)
    for draw, scores in zip(draws, fast, strict=True):
        slow = score_reports([references[i] for i in draw], [predictions[i] for i in draw], "raw")
        slow["cider"] = statistics.cider[draw].mean()  # document frequencies are those of all references
        np.testing.assert_allclose(scores, list(slow.values()), atol=1e-12)
    assert fast[:, 3].max() > 0  # BLEU-4 is not compared at 0 alone


def test_statistics_of_predictions_without_long_ngrams():
    statistics = ReportScorer(["a b", "c d"], "raw").statistics(["a b", "c"])
    scores = resampled_scores(statistics, np.ones((1, 2), int))[0]
    np.testing.assert_allclose(scores, list(score_reports(["a b", "c d"], ["a b", "c"], "raw").values()), atol=1e-12)


def test_references_of_which_the_rules_read_nothing_have_no_rule_f1():
    reports = ["kein erguss .", "herz und lunge ."] * 3
    intervals = score_intervals(ReportScorer(reports, "raw").statistics(reports), resamples=20)
    assert intervals["rule_f1_micro"] == intervals["rule_f1_macro"] == (0.0, 0.0)


def test_intervals_hold_the_score_and_shrink_with_the_sample():
    references, predictions = random_reports(1, count=60), random_reports(2, count=60)
    statistics = ReportScorer(references, "raw").statistics(predictions)
    scores, small = sample_scores(statistics), score_intervals(statistics)
    large = score_intervals(ReportScorer(references * 16, "raw").statistics(predictions * 16))
    for name in ("bleu_1", "rouge_l"):
        assert small[name][0] < scores[name] < small[name][1]
        # 16 times the sample: a quarter of the width.
        assert np.diff(large[name]) / np.diff(small[name]) == pytest.approx(0.25, abs=0.05)
    assert small == score_intervals(statistics)
    assert small != score_intervals(statistics, seed=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["a"], ["a", "b"], "raw"), "2 for 1 references"),
        (([], [], "raw"), "no reports"),
        ((["a"], ["a"], "coco"), "'coco' is unknown; choose one of r2gen, raw"),
        ((["a"], ["a"], "r2gen"), "train_reports"),
        ((["a"], ["a"], "r2gen", []), "train_reports"),
        (("a", "a", "raw"), "references: got one string"),
        ((["a"], ["a"], "raw", None, "nltk"), "meteor: 'nltk' is unknown; choose one of auto, jar, exact_stem"),
    ],
)
def test_bad_input_is_one_line(arguments, words):
    with pytest.raises(InputError, match=words) as error:
        score_reports(*arguments)
    assert "\n" not in str(error.value)


def test_real_reports_are_scored_within_two_seconds_and_as_measured(splits):
    train, _, references = splits
    most_frequent = "The heart is normal in size. The mediastinum is unremarkable. The lungs are clear."
    start = time.process_time()
    scorer = ReportScorer(references, train_reports=train)
    scores = scorer.scores([most_frequent] * len(references))
    score_intervals(scorer.statistics(references[::-1]))
    assert time.process_time() - start < 4
    # DESIGN.md section 6, "most frequent training report".
    np.testing.assert_allclose(list(scores.values())[:5], [0.242, 0.147, 0.106, 0.081, 0.312], atol=6e-4)
