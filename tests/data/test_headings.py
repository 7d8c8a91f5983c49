import pytest

from cxr_jax.data.headings import read_heading


@pytest.mark.parametrize(
    ("part", "texts"),
    [
        ("findings", ["FINDINGS", "Finding", "FINDING(S)", "RADIOGRAPHIC FINDINGS", "Findings 1"]),
        ("impression", ["IMPRESSION", "impressions", "Conclusion", "OPINION", "FINAL IMPRESSION", "IMPRESSION(S)"]),
        ("both", ["FINDINGS AND IMPRESSION", "Findings/Impression", "IMPRESSION & FINDINGS", "FINDINGS, CONCLUSION"]),
        ("view", ["CHEST, TWO VIEWS", "PORTABLE CHEST", "CHEST", "PA and lateral chest radiographs", "AP CHEST, ___",
                  "CHEST (PORTABLE AP)", "RIGHT RIBS, FOUR VIEWS", "FRONTAL AND LATERAL VIEWS OF THE CHEST"]),
        ("other", ["INDICATION", "Clinical history", "REASON FOR EXAM", "COMPARISON", "TECHNIQUE", "WET READ VERSION 1",
                   "RECOMMENDATION(S)", "ADDENDUM", "FINAL ADDENDUM", "PROVISIONAL FINDINGS IMPRESSION (PFI)",
                   "NOTIFICATION OF CRITICAL FINDINGS"]),
    ],
)  # fmt: skip
def test_headings(part, texts):
    for text in texts:
        heading = read_heading(text)
        assert heading, text
        assert (heading.part, heading.misspelt) == (part, False), text


@pytest.mark.parametrize(
    ("part", "texts"),
    [
        ("findings", ["FINDNGS", "FINIDNGS", "FINDIINGS", "FINDGINGS", "Findins", "FINGINGS", "INDINGS"]),
        ("impression", ["MPRESSION", "IMPRESSON", "IMPRSSION", "IMPERSSION", "IMPRESION", "IMPRESSOIN", "INPRESSION",
                        "IMPRESS ION", "Impresssion", "CONCLUSON"]),
        ("both", ["FINDINGS AND IMPRESION", "FINDNGS/IMPRESSON"]),
        ("other", ["COMPARISION", "NDICATION", "INDICTION", "TECHNQUE", "EXAMINTION", "CLINICAL HSTORY"]),
    ],
)  # fmt: skip
def test_misspelt_headings(part, texts):
    for text in texts:
        heading = read_heading(text)
        assert heading, text
        assert (heading.part, heading.misspelt) == (part, True), text


@pytest.mark.parametrize(
    "text",
    ["", "LUNGS", "HEART", "CHEST TUBE", "Chest wall", "findings of the pleura", "DEPRESSION", "COMPRESSION",
     "FILLINGS", "Left lung", "no findings", "12", "VIEW OF " * 12, "TWO", "AP chest compared to ___"],
)  # fmt: skip
def test_what_is_no_heading(text):
    assert read_heading(text) is None
