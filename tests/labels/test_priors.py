import json

import pytest

from cxr_jax.labels.priors import speaks_of_prior


@pytest.mark.parametrize(
    "report",
    [
        "In comparison with the study of ___, there is little change.",
        "Compared to the prior radiograph the effusion is larger.",
        "Heart size is unchanged.",
        "No significant interval change.",
        "Interval removal of the right chest tube.",
        "Stable cardiomegaly.",
        "Cardiomediastinal silhouette is stable.",
        "The nodule is again seen.",
        "Redemonstrated right basilar opacity.",
        "The left effusion has decreased.",
        "Previously seen consolidation is not present.",
        "Opacity is new since the previous examination.",
        "The pneumothorax is no longer seen.",
        "Improving bibasilar atelectasis.",
        "Persistent small left pleural effusion.",
        "Small effusion, larger than on the prior CT.",
        "COMPARISON: Chest radiograph of ___.",
    ],
)
def test_comparisons_are_found(report):
    assert speaks_of_prior(report)
    assert speaks_of_prior(f"The lungs are clear.\n{report.upper()}")


@pytest.mark.parametrize(
    "report",
    [
        "",
        "The lungs are clear. The heart is normal in size.",
        "Prior granulomatous disease.",
        "Previous median sternotomy.",
        "Prior abdominal surgery. Chest is clear.",
        "Comparison: None.",
        "COMPARISON: Not available.",
        "Short interval follow-up is recommended.",
        "The patient is hemodynamically stable.",
        "Degenerative changes of the spine, no acute change of the bones seen elsewhere.",
        "Medial compartment osteophytes.",
    ],
)
def test_what_is_no_comparison_is_left(report):
    assert not speaks_of_prior(report)


def test_on_open_i(shared):
    """A count of today, which docs/data.md has; it may change with the expression, knowingly."""
    splits = json.loads((shared / "data" / "iu_xray" / "r2gen_annotation.json").read_text()).values()
    reports = [entry["report"] for split in splits for entry in split]
    assert (len(reports), sum(map(speaks_of_prior, reports))) == (2955, 661)
