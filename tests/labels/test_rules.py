"""The rule labeller: sentences labelled by hand, and what must hold of any report."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.evaluation.protocols import clean_r2gen
from cxr_jax.labels.rules import OBSERVATIONS, find_mentions, label_report, rule_labels, split_sentences
from tests.labels.notation import SHORT

ROOT = Path(__file__).parents[2]
POSITIVE, NEGATIVE, UNCERTAIN = "positive", "negative", "uncertain"
# Made up for this test. "+" affirmed, "-" denied, "?" doubted; what is not listed is not to be named. Without the "No
# Finding" that follows from the rest.
SENTENCES = {
    # Denied before and after, in lists, and where a denial ends.
    "No pneumothorax, effusion or focal consolidation.": "-pneumothorax -effusion -consolidation",
    "There is no evidence of pneumonia.": "-pneumonia",
    "Negative for edema.": "-edema",
    "The lungs are free of consolidation or nodules.": "-consolidation -lesion",
    "The chest is without effusion, pneumothorax, or displaced rib fracture.": "-effusion -pneumothorax -fracture",
    "Neither effusion nor pneumothorax.": "-effusion -pneumothorax",
    "Pneumothorax is not seen.": "-pneumothorax",
    "Effusion or pneumothorax is not identified.": "-effusion -pneumothorax",
    "Rib fractures are absent.": "-fracture",
    "The left effusion has resolved.": "-effusion",
    "Interval resolution of the right lower lobe pneumonia.": "-pneumonia",
    "The previously noted edema has now cleared.": "-edema",
    "Resolved pneumothorax.": "-pneumothorax",
    "There is cardiomegaly and pneumothorax is not seen.": "+heart -pneumothorax",
    "No pneumothorax, but a small effusion is present.": "-pneumothorax +effusion",
    "No consolidation; however, there is mild edema.": "-consolidation +edema",
    "No acute abnormality other than a small left effusion.": "+effusion",
    "Clear of consolidation except for basilar atelectasis.": "-consolidation +atelectasis",
    "No pneumothorax with a moderate right effusion.": "-pneumothorax +effusion",
    "No pneumothorax, there is a right effusion.": "-pneumothorax +effusion",
    "No pneumothorax, stable right effusion.": "-pneumothorax +effusion",
    "No effusion or mild edema.": "-effusion -edema",
    "Although there is no effusion, atelectasis persists.": "-effusion +atelectasis",
    "Moderate effusion without pneumothorax.": "+effusion -pneumothorax",
    # Words that look like a denial, and are none.
    "No change in the effusion.": "+effusion",
    "No significant interval change in bibasilar atelectasis.": "+atelectasis",
    "Without interval increase in the right effusion.": "+effusion",
    "Not only atelectasis but consolidation.": "+atelectasis +consolidation",
    "Pneumothorax has not completely resolved.": "+pneumothorax",
    "No more than mild edema.": "+edema",
    "A nodule which was not present on the prior study.": "+lesion",
    # In doubt.
    "Possible small left effusion.": "?effusion",
    "This may represent pneumonia.": "?pneumonia",
    "Pneumonia cannot be excluded.": "?pneumonia",
    "A small pneumothorax can not be entirely ruled out.": "?pneumothorax",
    "Cannot exclude a nodule.": "?lesion",
    "Opacity suggestive of pneumonia.": "+opacity ?pneumonia",
    "Atelectasis versus infiltrate.": "?atelectasis ?opacity",
    "Questionable rib fracture.": "?fracture",
    "Consolidation is suspected.": "?consolidation",
    "Left basilar opacity, likely atelectasis.": "+opacity ?atelectasis",
    "No effusion, possible pneumothorax.": "-effusion ?pneumothorax",
    "No opacity to suggest pneumonia.": "-opacity -pneumonia",
    "No definite pneumothorax.": "-pneumothorax",
    "Less likely edema.": "?edema",
    # Past, or only looked for.
    "History of pneumonia.": "",
    "Evaluate for pneumothorax.": "",
    "If there is clinical concern for fracture, obtain dedicated views.": "",
    "History of pneumonia, now with effusion.": "+effusion",
    # Heart, mediastinum and other places that are normal or not.
    "Heart size is normal.": "-heart",
    "Normal heart size and mediastinal contours.": "-heart -mediastinum",
    "The cardiomediastinal silhouette is within normal limits.": "-heart -mediastinum",
    "The heart is not enlarged.": "-heart",
    "Heart size is at the upper limits of normal.": "-heart",
    "Borderline cardiac enlargement.": "?heart",
    "The cardiac silhouette is mildly enlarged.": "+heart",
    "Mild enlargement of the cardiac silhouette, mediastinal contours are normal.": "+heart -mediastinum",
    "The heart is normal and the aorta is prominent.": "-heart",
    "No mediastinal widening.": "-mediastinum",
    "The superior mediastinum is widened.": "+mediastinum",
    "The lungs are otherwise clear.": "-opacity",
    "Clear lungs.": "-opacity",
    "Costophrenic angles are sharp.": "-effusion",
    "Osseous structures are intact.": "-fracture",
    "Lungs demonstrate increased interstitial markings.": "+opacity",
    # Devices, and what names something else.
    "The endotracheal tube has been removed.": "-device",
    "Interval removal of the right chest tube.": "-device",
    "Right picc with its tip in the mid SVC.": "+device",
    "The lateral screw is fractured.": "+device",
    "Small pericardial effusion.": "",
    "Subcutaneous edema.": "",
    "Sequela of prior granulomatous infection.": "",
    # Typing.
    "Left sided pneumothroax.": "+pneumothorax",
    "Small bilateral effussions.": "+effusion",
    "Large left hydropneumothorax.": "+pneumothorax +effusion",
    "Right lower-lobe air-space opacity.": "+opacity",
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_labelled_by_hand(sentence):
    status = {"+": POSITIVE, "-": NEGATIVE, "?": UNCERTAIN}
    wanted = {SHORT[word[1:]]: status[word[0]] for word in SENTENCES[sentence].split()}
    statuses = label_report(sentence)
    assert {name: status for name, status in statuses.items() if name != "No Finding"} == wanted


@pytest.mark.parametrize(
    ("sentence", "sides"),
    [
        ("Small left effusion and right basilar atelectasis.", {"Pleural Effusion": "left", "Atelectasis": "right"}),
        ("Atelectasis in the left lower lobe.", {"Atelectasis": "left"}),
        ("In the right upper lobe there is a nodule.", {"Lung Lesion": ""}),
        ("Right greater than left effusions.", {"Pleural Effusion": "bilateral"}),
        ("Bibasilar opacities.", {"Lung Opacity": "bilateral"}),
        ("Opacity in both lungs, effusion on the right.", {"Lung Opacity": "bilateral", "Pleural Effusion": "right"}),
        ("Effusion.", {"Pleural Effusion": ""}),
        ("Right chest port.", {"Support Devices": "right"}),
        ("Catheter in the right atrium.", {"Support Devices": ""}),
        ("The right heart is enlarged.", {"Cardiomegaly": ""}),
    ],
)
def test_sides(sentence, sides):
    assert {m.observation: m.side for m in find_mentions(sentence)} == sides


@pytest.mark.parametrize(
    ("report", "sentences"),
    [
        ("1. No effusion. 2. Clear lungs.", ["1. No effusion.", "2. Clear lungs."]),
        ("A 1.2 cm nodule. Seen by Dr. XXXX today.", ["A 1.2 cm nodule.", "Seen by Dr. XXXX today."]),
        ("the heart is normal . no effusion .", ["the heart is normal .", "no effusion ."]),
        ("Clear lungs.. XXXX. Normal", ["Clear lungs..", "XXXX.", "Normal"]),
        ("Atelectasis vs. scar in the\nleft base\n\nNo edema", ["Atelectasis vs. scar in the\nleft base", "No edema"]),
        ("Clear lungs.Heart normal.", ["Clear lungs.", "Heart normal."]),
        ("No effusion; mild edema", ["No effusion;", "mild edema"]),
        ("No effusion\nMild edema at the\nright base", ["No effusion", "Mild edema at the\nright base"]),
        ("No effusion (see image 2) (2) Edema - stable", ["No effusion (see image 2)", "(2) Edema - stable"]),
        ("No effusion - a left - sided nodule", ["No effusion -", "a left - sided nodule"]),
        ("Edema? No. Effusion? Large", ["Edema? No.", "Effusion?", "Large"]),
        ("Cough FINDINGS: edema", ["Cough", "FINDINGS: edema"]),
        (" . ", []),
    ],
)
def test_split_sentences(report, sentences):
    assert [report[start:end] for start, end in split_sentences(report)] == sentences


def test_positive_wins_over_uncertain_over_negative():
    assert label_report("No effusion. Possible effusion.")["Pleural Effusion"] == UNCERTAIN
    assert label_report("Possible effusion. Small effusion. No effusion.")["Pleural Effusion"] == POSITIVE


@pytest.mark.parametrize(
    ("report", "labels"),
    [
        ("Clear lungs.", {"No Finding"}),
        ("Clear lungs. Left pacemaker.", {"No Finding", "Support Devices"}),
        ("Possible pneumonia.", {"Pneumonia"}),  # what is in doubt counts
        ("Thoracic scoliosis.", set()),  # a finding, though none of the fourteen
        ("No scoliosis.", {"No Finding"}),
        ("", set()),  # says nothing, not that nothing is there
        (" . ", set()),
    ],
)
def test_rule_labels(report, labels):
    assert rule_labels([report]) == [labels]


REPORTS = st.lists(st.sampled_from(list(SENTENCES)), min_size=1, max_size=6)


@given(REPORTS)
def test_joined_reports_have_all_their_mentions(sentences):
    report, shifted = " ".join(sentences), []
    for sentence in sentences:
        start = sum(len(earlier) + 1 for earlier in sentences[: len(shifted)])
        shifted.append([m._replace(start=m.start + start, end=m.end + start) for m in find_mentions(sentence)])
    assert find_mentions(report) == [mention for sentence in shifted for mention in sentence]


@given(REPORTS, st.sampled_from(["The trachea is midline.", "Comparison XXXX.", "PA and lateral views.", "Stable."]))
def test_an_unrelated_sentence_changes_nothing(sentences, unrelated):
    for report in (" ".join([unrelated, *sentences]), " ".join([*sentences, unrelated])):
        assert label_report(report) == label_report(" ".join(sentences))


@given(REPORTS)
def test_case_and_scoring_change_no_label(sentences):
    report = " ".join(sentence for sentence in sentences if ";" not in sentence) or "Clear lungs."
    for other in (report.lower(), report.upper(), clean_r2gen(report), report.replace(" ", "\n")):
        assert label_report(other) == label_report(report)


SCRAPS = ["no", "not", "effusion", "heart", "is", "normal", "enlarged", "left", "or", "resolved", "İ", "ß"]
SCRAPS += [".", ",", ";", "1.", "\n\n", "cannot be excluded", "?", ": no", "- yes", "2)", "(a)", "\n- ", "\nNo"]
SCRAPS += ["isn\u2019t", "w/o", "atelectasis/edema", "HISTORY:", "Findings:", "/", "ensure", "abnormal", "kein"]


@given(st.text(max_size=200) | st.lists(st.sampled_from(SCRAPS), max_size=30).map(" ".join))
def test_any_text_has_mentions_within_it(report):
    spans = split_sentences(report)
    assert [end for _, end in spans] == sorted(end for _, end in spans)
    words = [word.span() for word in re.finditer(r"[a-z]{3,}", report)]
    assert all(any(start <= a and b <= end for start, end in spans) for a, b in words)
    mentions = find_mentions(report)
    assert [m.start for m in mentions] == sorted(m.start for m in mentions)
    for mention in mentions:
        assert 0 <= mention.start < mention.end <= len(report)
        assert mention.observation in OBSERVATIONS
        assert mention.status in (POSITIVE, NEGATIVE, UNCERTAIN)
        assert mention.side in ("left", "right", "bilateral", "")
    assert set(label_report(report)) <= set(OBSERVATIONS)


@pytest.mark.slow
def test_agreement_with_open_is_indexers(shared):
    """Macro and micro F1 over the half of the real reports that no rule was made on."""
    reports = shared / "data" / "iu_xray" / "NLMCXR_reports.tgz"
    if not reports.is_file():
        pytest.skip(f"no {reports}")
    script = ROOT / "scripts" / "validate_labels.py"
    command = [sys.executable, str(script), "--reports", str(reports)]
    printed = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    means = {
        line.split()[0]: float(line.split()[-2]) for line in printed.stdout.splitlines() if line[:3] in ("mac", "mic")
    }
    assert means["macro"] > 0.8
    assert means["micro"] > 0.88
