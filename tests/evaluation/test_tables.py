import pytest

from cxr_jax.evaluation import tables
from cxr_jax.evaluation.label_policies import label_names

POLICY = dict.fromkeys(label_names("ignore"), 0.125)


def metrics_of(dataset):
    scores = {"bleu_1": 0.5, "rouge_l": 0.25} | POLICY
    return {
        "dataset": dataset,
        "data_split": "r2gen",
        "split": "test",
        "protocol": "r2gen",
        "step": 7,
        "n": 4,
        "scores": scores,
        "intervals": {name: [0.1, 0.6] for name in scores},
        "floors": {"random_report": {"bleu_1": 0.3, "rouge_l": 0.2} | POLICY},
        "ceiling": {"bleu_1": 0.7, "rouge_l": 0.4} | POLICY,
        "skill": {"bleu_1": 0.5},
    }


def line(study, *labels):
    return {"study_id": study, "labels": list(labels), "reference": f"True | of {study}.", "prediction": "Found\nhere."}


LINES = [line("s1"), line("s2", "Nodule"), line("s3"), line("s4"), line("s5", "Nodule")]


def test_markdown_holds_the_scores_and_examples_of_both_kinds():
    text = tables.markdown(metrics_of("IU X-ray (Open-i release)"), LINES)
    assert text.startswith(
        "IU X-ray (Open-i release), split by r2gen: test split, 4 images, protocol r2gen, checkpoint"
    )
    assert "| retrieved report (top 1) | 0.500 | 0.250 |" in text
    assert "| a random training report | 0.300 | 0.200 |" in text
    assert "| skill, 0 random to 1 ceiling | 0.500 |  |" in text
    assert "| R2Gen as published, protocol r2gen | 0.470 | 0.371 |" in text
    assert "| s1 | normal | True \\| of s1. | Found here. |" in text
    assert [study for study in ("s1", "s2", "s3", "s4", "s5") if f"| {study} |" in text] == ["s1", "s2", "s3", "s5"]
    lines = [line for line in text.splitlines() if "BLEU" in line or "random" in line]
    assert [line.replace("\\|", "").count("|") for line in lines] == [4, 4, 4, 10]
    assert "| rule F1, uncertain=ignore, blank=negative | of 14, micro | of 14, macro |" in text


@pytest.mark.parametrize("dataset", ["phantom (drawn images, not patients)", "IU X-ray reports with drawn images"])
def test_published_figures_stand_beside_their_own_data_only(dataset):
    assert "as published" not in tables.markdown(metrics_of(dataset), LINES)


def test_remarks_tell_how_many_reports_are_distinct_and_why_a_ceiling_is_low():
    metrics = metrics_of("pairs (a.csv)")
    assert tables.score_remarks(metrics) == []
    metrics["distinct_reports"] = {"true": 3, "predicted": 2}
    metrics["floors"]["most_frequent_report"] = POLICY | {"bleu_1": 0.9, "rouge_l": 0.3, "rule_f1_macro": 0.6}
    metrics["ceiling"]["rule_f1_macro"] = 0.4
    metrics["copied_references"] = 0.5
    distinct, bleu, rule = tables.score_remarks(metrics)
    assert distinct == "2 distinct reports answer 4 images, whose true reports are 3 distinct ones."
    assert bleu == (
        "BLEU-1: the ceiling, 0.700, lies under a floor, 0.900 of the most frequent training report: the ceiling takes "
        "the training report that shares most words with the true one, copies of it barred, and 50% of the true "
        "reports have a copy among the training reports."
    )
    assert rule.startswith("rule F1 macro: the ceiling, 0.400, lies under a floor, 0.600 of the most frequent")
    assert rule.endswith("few words carry a finding, and that report may lack them.")
    assert f"{distinct}\n\n{bleu}" in tables.markdown(metrics, LINES)
