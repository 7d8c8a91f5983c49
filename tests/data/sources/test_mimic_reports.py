"""Reports that the tests invent, in the shapes that MIMIC-CXR's have."""

import pytest

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
        ("                 FINAL REPORT\n AP CHEST, ___\n\n Lungs are clear.\n", "", ""),
        ("FINDINGS: Clear.", "Clear.", ""),
        ("FINDINGS : Clear.", "Clear.", ""),
        ("FINDINGS\n Clear.", "Clear.", ""),
        (" FINAL REPORT\r\n FINDINGS\r\n Clear.\r\n IMPRESSION:\r\n Normal.\r\n", "Clear.", "Normal."),
        ("findings\n Clear.", "", ""),  # a wrapped line, not a header
        ("No FINDINGS: none.", "", ""),
        ("FINDINGS AND IMPRESSION: Clear.", "Clear.", ""),
        ("FINDINGS/IMPRESSION: Clear.", "Clear.", ""),
        ("IMPRESSION AND FINDINGS: Clear.", "Clear.", ""),
        ("CONCLUSION: Clear.", "", "Clear."),
        ("IMPRESSIONS: Clear.", "", "Clear."),
        ("HISTORY: Cough.\nREASON FOR EXAM: Fever.\nIMPRESSION: Clear.", "", "Clear."),
        ("CLINICAL INFORMATION: Cough.", "", ""),
        ("FINDINGS: One.\n\nCOMPARISON: None.\n\nFINDINGS: Two.", "One. Two.", ""),
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
