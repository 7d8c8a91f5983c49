"""Reports that the tests invent, in the shapes that MIMIC-CXR's have."""

from collections import Counter

import pytest

from cxr_jax.data.sources import mimic_reports as rules
from cxr_jax.data.sources.mimic_reports import parse_sections

USUAL = """\
 WET READ: ___ ___ 10:40 PM
  Impression: a large effusion, preliminary.
 ______________________________________________________________________________
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___-year-old woman with cough  // pneumonia?

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  ___.

 FINDINGS:

 The lungs are clear. In the interval there are no new
 findings of the pleura: no effusion. ___ tube ends at
 T4.

 IMPRESSION:

 No acute process.  Discussed with Dr. ___ by
 ___ at 10:40.

 RECOMMENDATION(S):  Follow-up in 3 weeks.
"""


def test_a_usual_report():
    assert parse_sections(USUAL) == {
        "findings": (
            "The lungs are clear. In the interval there are no new findings of the pleura: no effusion. "
            "___ tube ends at T4."
        ),
        "impression": "No acute process. Discussed with Dr. ___ by ___ at 10:40.",
    }


@pytest.mark.parametrize("change", [str.lower, str.title])
def test_headers_are_known_in_any_case(change):
    assert {name: text.lower() for name, text in parse_sections(change(USUAL)).items()} == {
        name: text.lower() for name, text in parse_sections(USUAL).items()
    }


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        ("", "", ""),
        ("FINDINGS: Clear.", "Clear.", ""),
        ("FINDINGS : Clear.", "Clear.", ""),
        ("FINDINGS\n Clear.", "Clear.", ""),
        (" FINAL REPORT\r\n FINDINGS\r\n Clear.\r\n IMPRESSION:\r\n Normal.\r\n", "Clear.", "Normal."),
        ("IMPRESSION: No new\nfindings\n here.", "", "No new findings here."),  # a wrapped line, not a header
        ("IMPRESSION: Clear. No FINDINGS: none.", "", "Clear. No FINDINGS: none."),
        ("FINDINGS AND IMPRESSION: Clear.", "Clear.", "Clear."),
        ("FINDINGS/IMPRESSION: Clear.", "Clear.", "Clear."),
        ("IMPRESSION AND FINDINGS: Clear.", "Clear.", "Clear."),
        ("CONCLUSION: Clear.", "", "Clear."),
        ("IMPRESSIONS: Clear.", "", "Clear."),
        ("HISTORY: Cough.\nREASON FOR EXAM: Fever.\nIMPRESSION: Clear.", "", "Clear."),
        ("CLINICAL INFORMATION: Cough.", "", ""),
        ("FINDINGS: One.\n\nCOMPARISON: None.\n\nFINDINGS: Two.", "Two.", ""),
        ("FINDINGS: One.\n\nCOMPARISON: None.\n\nFINDINGS: ___\n", "One.", ""),
        ("IMPRESSION: Above.\n FINAL REPORT\nFINDINGS: Below.", "Below.", ""),
        ("ADDENDUM: Read again.\n FINAL REPORT (REVISED)\nIMPRESSION: Clear.", "", "Clear."),
        ("IMPRESSION: Clear.\n\nADDENDUM: Read again.", "", "Clear."),
        ("IMPRESSION: Clear.\nWET READ VERSION #1 AB SUN 9:20 PM\n Not so clear.", "", "Clear."),
        ("PROVISIONAL FINDINGS IMPRESSION (PFI): Draft.\nIMPRESSION: Clear.", "", "Clear."),
        ("FINDINGS: LUNGS: Clear.\nHEART: Normal.\nLines: none.", "LUNGS: Clear. HEART: Normal. Lines: none.", ""),
        ("IMPRESSION: Clear.\n__________\n", "", "Clear."),
        ("IMPRESSION: ___\n___\nclear.", "", "___ ___ clear."),
        ("FINDINGS:\n\nIMPRESSION:\n", "", ""),
    ],
)
def test_sections(report, findings, impression):
    assert parse_sections(report) == {"findings": findings, "impression": impression}


def test_long_lines_of_blanks_and_rules_take_no_time():
    # An expression that tries again from every blank would take hours.
    assert parse_sections(" " * 200_000 + "x\n" + "_" * 200_000 + "x")["findings"] == ""


TITLE = " FINAL REPORT\n AP CHEST, 8:15 A.M., ON ___\n \n HISTORY:  Cough.\n \n"


@pytest.mark.parametrize(
    ("report", "findings", "impression", "rule"),
    [
        (USUAL.replace("RECOMMENDATION", "NOTE"), None, None, rules.BOTH),
        (" FINAL REPORT\n CHEST, TWO VIEWS:  Lungs are clear.\n", "Lungs are clear.", "", rules.VIEW),
        (" FINAL REPORT\n PORTABLE CHEST:  Clear.\n \n IMPRESSION:  Fine.", "Clear.", "Fine.", rules.VIEW),
        (" FINAL REPORT\n CHEST: Clear.\n HISTORY: Fall.\n RIBS, FOUR VIEWS: Whole.", "Clear. Whole.", "", rules.VIEW),
        # A title, not a section.
        (" FINAL REPORT\n CHEST, TWO VIEWS: ___\n \n FINDINGS: Clear.", "Clear.", "", rules.FINDINGS),
        (TITLE + " IMPRESSION: AP chest compared to ___:\n \n No change.", "", "AP chest compared to ___: No change.",
         rules.IMPRESSION),
        # The last paragraphs
        (TITLE + " As compared to ___, the\n lungs are clear.\n", "As compared to ___, the lungs are clear.", "",
         rules.PARAGRAPH),
        (" FINAL REPORT\n AP CHEST, ___\n\n Lungs are clear.\n", "Lungs are clear.", "", rules.PARAGRAPH),
        (" FINAL REPORT\n COMPARISON: ___.\n \n One here.\n \n Two here.", "One here. Two here.", "", rules.PARAGRAPH),
        (" FINAL REPORT\n HISTORY: Cough.\n \n Clear.\n \n NOTIFICATION: Dr. ___.", "Clear.", "", rules.PARAGRAPH),
        ("The lungs are clear.", "The lungs are clear.", "", rules.PARAGRAPH),
        (" FINAL REPORT\n PORTABLE CHEST, ___\n", "", "", rules.NOTHING),
        (" FINAL REPORT\n HISTORY: Cough.\n \n COMPARISON: None.\n", "", "", rules.NOTHING),
        # In one
        ("FINDINGS AND IMPRESSION: Clear.", "Clear.", "Clear.", rules.COMBINED),
        # Misspelt
        ("FINDNGS: Clear.\n \n IMPRESSION: Fine.", "Clear.", "Fine.", rules.MISSPELT),
        ("MPRESSION: Clear.", "", "Clear.", rules.MISSPELT),
        ("FINIDNGS: Clear.\n \n IMPRESSON; Fine.\n \n IMPERSSION: Fine.", "Clear. IMPRESSON; Fine.", "Fine.",
         rules.MISSPELT),
        ("COMPARISION: None.\n IMPRESSION; Fine.", "", "Fine.", rules.IMPRESSION),
        # Addenda
        (" FINAL REPORT\n ADDENDUM: A nodule.\n __________\n FINAL REPORT\n FINDINGS: Clear.", "Clear.", "",
         rules.FINDINGS),
        (" FINAL REPORT\n FINDINGS: Clear.\n \n IMPRESSION: Fine.\n \n FINAL ADDENDUM\n A nodule.", "Clear.", "Fine.",
         rules.BOTH),
        (" FINAL REPORT\n FINDINGS: Clear.\n \n IMPRESSION: Fine.\n \n ADDENDUM by Dr. ___: A nodule.\n"
         " IMPRESSION: A nodule.", "Clear.", "A nodule.", rules.BOTH),
        (" FINAL REPORT\n IMPRESSION: Fine.\n FINAL REPORT\n CHEST, ___\n", "", "Fine.", rules.IMPRESSION),
        (" WET READ: ___\n IMPRESSION: Draft.\n FINAL REPORT\n CHEST, ___\n", "", "", rules.NOTHING),
    ],
)  # fmt: skip
def test_the_rule_that_found_the_text_is_counted(report, findings, impression, rule):
    counts = Counter()
    sections = parse_sections(report, counts)
    if findings is not None:
        assert sections == {"findings": findings, "impression": impression}
    assert counts == {rule: 1}
