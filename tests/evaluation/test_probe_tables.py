"""What is printed of probes."""

import pytest

from cxr_jax.evaluation.probe_tables import probe_text


def entry(auroc, spread):
    return {
        "auroc": auroc,
        "average_precision": 0.5,
        "intervals": {"auroc": [0.1, 0.9], "average_precision": [0.4, 0.6]},
        "spread": {"auroc": spread, "average_precision": spread},
        "floors": {
            "chance": {"auroc": 0.5, "average_precision": 0.25},
            "random_vectors": {"auroc": 0.51, "average_precision": 0.26},
        },
    }


@pytest.fixture
def result():
    def share(rows, spread, cut_short):
        strengths = {"C": [0.01] * len(rows), "cut_short": cut_short, "rows": rows, "patients": rows}
        return strengths | {"labels": {"Edema": entry(0.8, spread)}, "macro": {"n_labels": 1, **entry(0.8, spread)}}

    return {
        "split": "patient",
        "seed": 3,
        "uncertain": "ignore",
        "splits": {"train": {"rows": 1000, "patients": 900}},
        "labels": {
            "Edema": {"n": 1200, "n_positive": 300, "prevalence": 0.25},
            "Mass": {"n": 1200, "n_positive": 0, "prevalence": 0.0, "not_measurable": "no positive in test"},
        },
        "shares": {"10": share([100, 101], 0.012, 4), "100": share([1000], None, 0)},
    }


def test_each_share_is_a_table_between_its_floors(result):
    lines = [" ".join(line.split()) for line in probe_text(result).splitlines()]
    assert lines[0] == "rows of patients, dealt with seed 3: train 1,000 of 900; uncertain labels: ignore"
    assert "10 % of the training rows: 100 of 100 patients, means of 2 draws; C on val: 0.01, 0.01" in lines
    assert "100 % of the training rows: 1,000 of 1,000 patients; C on val: 0.01" in lines
    row = "Edema 300 of 1,200 0.800 0.100-0.900 0.012 0.510 0.500 0.400-0.600 0.260 0.250"
    assert row in lines
    assert row.replace("0.012 ", "") in lines
    assert "mean of 1 0.800 0.100-0.900 0.012 0.510 0.500 0.400-0.600 0.260 0.250" in lines
    assert lines.count("4 fits were cut short, and may be a little too low") == 1
    assert "Mass: no positive in test" in lines


def test_a_split_by_column_says_so(result):
    assert "by the column split: train" in probe_text(result | {"split": "column", "seed": None})
