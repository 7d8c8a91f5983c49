import pytest

from cxr_jax.data.placeholders import is_no_report, is_placeholder


@pytest.mark.parametrize(
    "cell",
    ["nan", "NaN", "None", "none.", "N/A", "n/a", "NA", "n.a.", "null", "<NA>", "#N/A", "[]", "{}", "['nan']", '""',
     ".", "-", "--", "?", "___", "nan nan", "None; None", "not available", "Report not available.", "no report",
     "NaT", "\\N", "1.#QNAN", "-1.#IND", "k.A.", "k. A.", "keine Angabe", "False",
     "unknown", "XXXX", "xxxx.", "#REF!", "TBD", "\u00a0nan\u00a0"],
)  # fmt: skip
def test_placeholders(cell):
    assert is_placeholder(cell)
    assert is_no_report(cell)


@pytest.mark.parametrize(
    "report",
    ["Normal.", "No finding.", "None of the lines has moved.", "No pneumothorax.", "Clear",
     "Unknown device on the left.", "NAD", "XXXX opacity.", "心影正常", "Missing left breast shadow."],
)  # fmt: skip
def test_reports(report):
    assert not is_placeholder(report)
    assert not is_no_report(report)


@pytest.mark.parametrize("number", ["0", "123", "-1", "1.0", "1,2"])
def test_a_number_may_be_an_id_and_is_no_report(number):
    assert not is_placeholder(number)
    assert is_no_report(number)


def test_nothing_is_neither():
    assert not any(test(cell) for test in (is_placeholder, is_no_report) for cell in ("", "  "))
