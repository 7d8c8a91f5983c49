"""The tables of runs beside each other: mean, spread, and what pays."""

import numpy as np
import pytest

from cxr_jax.evaluation import ablation_tables
from cxr_jax.evaluation.ablation import read_run, variants_of
from cxr_jax.evaluation.ablation_tables import ablation_table, difference_table
from cxr_jax.evaluation.comparison import compare
from tests.evaluation.runs import make_run, metrics, parameters_of


def test_the_tables_say_mean_spread_and_what_pays(folders):
    good, bad = folders
    runs = [read_run(folder, "test") for folder in (*good, *bad)]
    variants = variants_of(runs, parameters_of)
    columns, rows = ablation_table(variants, runs[0].limits)
    by_name = {row[0]: row for row in rows}
    assert columns == ["", "good0", "bad0", "constant report", "random report", "ceiling"]
    floors = metrics(good[0])["floors"]
    assert by_name["BLEU-4"][3:5] == [f"{floors[f'{name}_report']['bleu_4']:.3f}" for name in ("constant", "random")]
    assert by_name["BLEU-4"][5] == f"{metrics(good[0])['ceiling']['bleu_4']:.3f}"
    assert by_name["R@1"][3:] == ["", "0.100", ""]  # ten reports, each six times
    assert by_name["seeds"][1:] == ["3", "2", "", "", ""]
    recalls = [metrics(f)["retrieval"]["image_to_text"]["recall@1"] for f in bad]
    assert by_name["R@1"][2] == f"{np.mean(recalls):.3f} ± {np.std(recalls, ddof=1):.3f}"
    _, rows = difference_table(variants)
    by_name = {row[0]: row[1] for row in rows}
    for score in ("BLEU-4", "finding F1", "R@1"):
        assert by_name[score].endswith(") pays")
    sure = sum(cell.endswith(") pays") for cell in by_name.values())
    assert by_name["does good0 pay?"] == f"pays in {sure} of {len(rows) - 1}"
    swapped = variants_of([*runs[len(good) :], *runs[: len(good)]], parameters_of)
    _, rows = difference_table(swapped)
    by_name = {row[0]: row[1] for row in rows}
    assert by_name["R@1"].endswith(") costs")
    assert by_name["does bad0 pay?"] == f"costs in {sure} of {len(rows) - 1}"


def test_what_pays_in_some_scores_and_costs_in_others():
    assert ablation_tables._summary(["pays", "", "costs", "pays"]) == "pays in 2 and costs in 1 of 4"


def test_two_single_runs_differ_as_a_comparison_says(folders):
    a, b = (read_run(side[0], "test") for side in folders)
    variants = variants_of([a, b], parameters_of)
    compared = compare(a.lines, b.lines, "raw", a.train_reports)
    for name, expected in compared.items():
        gain = ablation_tables._gain(*variants, name)
        assert gain["difference"] == pytest.approx(expected["difference"])
        assert gain["interval"] == pytest.approx(expected["interval"])


def test_equal_variants_are_not_said_to_differ(folders, tmp_path):
    other = make_run(tmp_path / "same", seed=0, **{"image.pooling": "mean"})
    runs = [read_run(folder, "test") for folder in (folders[0][0], other)]
    _, rows = difference_table(variants_of(runs, parameters_of))
    assert rows[-1][1] == "not shown"
    assert {row[1] for row in rows[:-1]} == {"+0.000 (+0.000 to +0.000)"}
