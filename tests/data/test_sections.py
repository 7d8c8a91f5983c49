"""Reports that say which part is which: in lines and in one line, as tools and people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.data.sections import cut_report
from cxr_jax.data.sources.mimic_reports import parse_sections

F, S = "The heart is normal.", "No acute disease."


@pytest.mark.parametrize(
    "report",
    [
        f"FINDINGS: {F} IMPRESSION: {S}",
        f"FINDINGS:\n{F}\n\nIMPRESSION:\n{S}",
        f"FINDINGS\r\n{F}\r\nIMPRESSION\r\n{S}",
        f"Findings:{F}Impression:{S}",
        f"findings: {F}\nimpression: {S}",
        f"Findings: {F} Impression: {S}",
        f"EXAM: Chest. INDICATION: Cough. FINDINGS: {F} IMPRESSION: {S}",
        f"Indication: cough. Findings: {F} Impression: {S}",
        f"IMPRESSION: {S} FINDINGS: {F}",
        f"{F} IMPRESSION: {S}",
        f"**Findings:** {F}\n\n**Impression:** {S}",
        f"## Findings:\n{F}\n## Impression:\n{S}",
        f"CHEST, TWO VIEWS: {F}\nCONCLUSION: {S}",
        f"FINDNGS: {F}\nIMPRESSON: {S}",
        f"FINDINGS: {F}\u2028IMPRESSION: {S}",
        f"FINDINGS: {F}\nRECOMMENDATION: CT.\nIMPRESSION: {S}",
        f"FINDINGS: Above.\nFINDINGS: {F}\nIMPRESSION: nan\nIMPRESSION: {S}",
    ],
)
def test_both_sections_are_found(report):
    assert cut_report(report) == (F, S)


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        (f"IMPRESSION: {S}", "", S),
        (f"FINDINGS: {F}", F, ""),
        (f"FINDINGS: {F} IMPRESSION:", F, ""),
        (f"FINDINGS: None. IMPRESSION: {S}", "", S),
        (f"FINDINGS AND IMPRESSION: {F}", F, F),
        (f"FINDINGS: {F} Seen at 10:40: a line. IMPRESSION: {S}", f"{F} Seen at 10:40: a line.", S),
        ("FINDINGS: LUNGS: Clear. HEART: Large. IMPRESSION: None new.", "LUNGS: Clear. HEART: Large.", "None new."),
        ("FINDINGS: LUNGS ARE CLEAR IMPRESSION: NORMAL CHEST", "LUNGS ARE CLEAR", "NORMAL CHEST"),
        ("FINDINGS: The lungs show\nfindings: of old disease.", "of old disease.", ""),
    ],
)
def test_what_each_holds(report, findings, impression):
    assert cut_report(report) == (findings, impression)


@pytest.mark.parametrize(
    "report",
    [
        "",
        F,
        "CT findings: widespread opacities.",
        "Presentation: Cough. No bone lesions.. Impression:. Several are possible.",
        "Indication: pain. Normal heart.",
        "The main impression: it is unchanged.",
        "LUNGS: Clear.\nHEART: Normal.",
    ],
)
def test_a_report_that_does_not_say_is_left_whole(report):
    assert cut_report(report) is None


@pytest.mark.parametrize("text", [" " * 100_000 + "x", "A " * 50_000 + ":", ":" * 50_000, "FINDINGS " * 20_000])
def test_long_texts_take_no_time(text):
    assert cut_report(text) is None


PIECES = ["FINDINGS", "Impression", "MPRESSION", "CHEST, TWO VIEWS", "HISTORY", "ADDENDUM", "FINAL REPORT", "Clear",
          "heart", "___", ":", ".", ";", " ", "  ", "\n", "\n \n", "AND", "/", "8:15", "\u2028", "ü"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_whatever_the_report_what_is_found_stands_in_it_in_its_order(report):
    rest = " ".join(report.split())
    for findings, impression in (cut_report(report) or ("", ""), tuple(parse_sections(report).values())):
        for text in (findings, impression):
            assert text == " ".join(text.split())
            words = iter(rest.split())
            assert all(any(piece.endswith(word) or word in piece for piece in words) for word in text.split())
