"""The rule labeller on kinds of reports that labellers have been reported to misread; all are made up here."""

import json

import pytest

from cxr_jax.labels.rules import find_mentions, label_report
from tests.labels.notation import SHORT, SIGNS

# Report → all that it says: + affirmed, - denied, ? doubted; "normal" is "No Finding".
LINES = {
    "No pneumothorax\nSmall left pleural effusion": "-pneumothorax +effusion",
    "No pneumothorax\r\nCardiomegaly": "-pneumothorax +heart",
    "No acute consolidation\n* Moderate right effusion": "-consolidation +effusion",
    "No focal consolidation\n• Moderate right effusion\n• Pacemaker": "-consolidation +effusion +device",
    "No effusion\n\u2013 Right lower lobe opacity": "-effusion +opacity",
    "No effusion\n2 Cardiomegaly": "-effusion +heart",
    "No effusion\n2. Cardiomegaly": "-effusion +heart",
    "No effusion\n(2) Cardiomegaly": "-effusion +heart",
    "No effusion\n\tCardiomegaly": "-effusion +heart",
    "NO PNEUMOTHORAX\nLARGE RIGHT EFFUSION": "-pneumothorax +effusion",
    "No pneumothorax\nICD with two leads": "-pneumothorax +device normal",
    "Possible pneumonia\nRight effusion": "?pneumonia +effusion",
    "CARDIOMEGALY: mild\nEDEMA: none\nEFFUSION: small": "+heart -edema +effusion",
    # Lines that go on.
    "There is no pleural effusion or\nPneumothorax": "-effusion -pneumothorax normal",
    "There is no evidence of\nfocal consolidation": "-consolidation normal",
    "No effusion,\nConsolidation or pneumothorax": "-effusion -consolidation -pneumothorax normal",
    "The lungs are clear. There is no evidence for pulmonary edema, effusion\nor pneumothorax.": (
        "-opacity -edema -effusion -pneumothorax normal"
    ),
    "THE LUNGS ARE CLEAR WITHOUT EVIDENCE OF FOCAL CONSOLIDATION OR LARGE\nEFFUSION. NO PNEUMOTHORAX IS SEEN.": (
        "-opacity -consolidation -effusion -pneumothorax normal"
    ),
}
LISTS = {
    "1) No effusion 2) Left pneumothorax": "-effusion +pneumothorax",
    "(1) No effusion (2) Left pneumothorax": "-effusion +pneumothorax",
    "a) No effusion b) Left pneumothorax": "-effusion +pneumothorax",
    "(a) No effusion (b) Left pneumothorax": "-effusion +pneumothorax",
    "i) No effusion ii) Left pneumothorax": "-effusion +pneumothorax",
    "1. No effusion 2. Left pneumothorax": "-effusion +pneumothorax",
    "A) No effusion B) Edema": "-effusion +edema",
    "• No effusion • Left pneumothorax": "-effusion +pneumothorax",
    "1)No effusion\n2)Left pneumothorax": "-effusion +pneumothorax",
    "IMPRESSION: 1) No pneumonia 2) Cardiomegaly 3) Right picc": "-pneumonia +heart +device",
    "No nodule (see image 2) or effusion.": "-lesion -effusion normal",
    "No nodule (over 1.5 cm) or effusion.": "-lesion -effusion normal",
}
DASHES = {
    "No effusion - left pneumothorax": "-effusion +pneumothorax",
    "No effusion \u2013 left pneumothorax": "-effusion +pneumothorax",
    "No effusion — left pneumothorax": "-effusion +pneumothorax",
    "No effusion -- left pneumothorax": "-effusion +pneumothorax",
    "No effusion—cardiomegaly": "-effusion +heart",
    "Cardiomegaly - no effusion - no edema": "+heart -effusion -edema",
    "Impression - no effusion - edema": "-effusion +edema",
    "- No effusion - Edema": "-effusion +edema",
    "Lungs - clear. Heart - enlarged.": "-opacity +heart",
    "No consolidation, edema - or effusion": "-consolidation -edema -effusion normal",
    "No post - obstructive pneumonia.": "-pneumonia normal",
    "No left - sided pleural effusion.": "-effusion normal",
    "No air - space opacity.": "-opacity normal",
    "No left-sided effusion": "-effusion normal",
    "No evidence of a 3 - 5 mm nodule.": "-lesion normal",
}
ANSWERS = {
    "Pneumothorax: none. Edema: present.": "-pneumothorax +edema",
    "Pneumothorax: No\nEffusion: Yes\nEdema: No": "-pneumothorax +effusion -edema",
    "Pneumothorax: no, effusion: yes, edema: no": "-pneumothorax +effusion -edema",
    "Pneumothorax: No Effusion: Yes": "-pneumothorax +effusion",
    "Pneumothorax : absent ; effusion : present": "-pneumothorax +effusion",
    "Pleural effusion: Absent": "-effusion normal",
    "Pneumothorax = no": "-pneumothorax normal",
    "Pneumothorax - none": "-pneumothorax normal",
    "Pneumothorax - none\nEffusion - yes": "-pneumothorax +effusion",
    "Pneumothorax (no), effusion (yes)": "-pneumothorax +effusion",
    "Pneumothorax No, effusion Yes": "-pneumothorax +effusion",
    "Pneumothorax: -ve": "-pneumothorax normal",
    "Pneumothorax? None.": "-pneumothorax normal",
    "Is there a pneumothorax? No.": "-pneumothorax normal",
    "Effusion? Yes.": "+effusion",
    "Fracture: nil": "-fracture normal",
    "Pneumonia: NEGATIVE": "-pneumonia normal",
    "Consolidation: positive": "+consolidation",
    "Enlarged heart: no": "-heart normal",
    "Pneumothorax or effusion: none.": "-pneumothorax -effusion normal",
    "Pneumothorax: none seen. Effusion: not seen.": "-pneumothorax -effusion normal",
    "Pneumothorax: No pneumothorax. Effusion: Small right effusion.": "-pneumothorax +effusion",
    "Heart: normal. Lungs: clear. Lines and tubes: none.": "-heart -opacity -device normal",
    "Effusion: small. Pneumothorax: none.": "+effusion -pneumothorax",
}
CONTRACTIONS = {
    "There isn\u2019t an effusion.": "-effusion normal",
    "There isnt an effusion.": "-effusion normal",
    "There aren't any effusions.": "-effusion normal",
    "An effusion isn't seen.": "-effusion normal",
    "Effusions aren\u2019t identified.": "-effusion normal",
    "I don\u2019t see any effusion.": "-effusion normal",
    "We do not see an effusion.": "-effusion normal",
    "The study doesn't show an effusion.": "-effusion normal",
    "There wasn't a pneumothorax.": "-pneumothorax normal",
    "Pneumothorax hasn't been identified.": "-pneumothorax normal",
    "An effusion can't be seen.": "-effusion normal",
    "Pneumonia can\u2019t be excluded.": "?pneumonia",
    "Pneumonia cant be ruled out.": "?pneumonia",
    "Can't exclude pneumonia.": "?pneumonia",
    "Pneumonia couldn't be excluded.": "?pneumonia",
    "Pneumonia isn't excluded.": "?pneumonia",
    "The effusion hasn't resolved.": "+effusion",
    "There's a small effusion.": "+effusion",
    "There haven\u2019t been changes in the effusion.": "+effusion",
}
DENIALS = {
    "An effusion cannot be identified.": "-effusion normal",
    "Effusion can not be seen.": "-effusion normal",
    "Pneumothorax could not be demonstrated.": "-pneumothorax normal",
    "Cannot identify a pneumothorax.": "-pneumothorax normal",
    "Unable to identify a pneumothorax.": "-pneumothorax normal",
    "The study fails to show pneumothorax.": "-pneumothorax normal",
    "Failure to demonstrate an effusion.": "-effusion normal",
    "Pneumothorax not identified.": "-pneumothorax normal",
    "Effusion is not visualised.": "-effusion normal",
    "Effusion was not detected.": "-effusion normal",
    "Pneumothorax is no longer seen.": "-pneumothorax normal",
    "Nil effusion.": "-effusion normal",
    "Negative for effusion.": "-effusion normal",
    "The chest is negative for effusion.": "-effusion normal",
    "Pneumothorax can be excluded.": "-pneumothorax normal",
    "Pneumothorax can be seen.": "+pneumothorax",
    "Effusion can be identified on the left.": "+effusion",
}
COORDINATION = {
    "No pneumothorax and large left effusion.": "-pneumothorax +effusion",
    "No pneumothorax, large left effusion.": "-pneumothorax +effusion",
    "No pneumothorax and trace effusion is noted.": "-pneumothorax +effusion",
    "There is no edema and left basilar atelectasis is present.": "-edema +atelectasis",
    "No edema, bibasilar atelectasis.": "-edema +atelectasis",
    "No pneumothorax and effusion is present.": "-pneumothorax +effusion",
    "No pneumothorax is seen and effusion is noted.": "-pneumothorax +effusion",
    "No effusion, pacemaker in place.": "-effusion +device normal",
    "No effusion and pacemaker in situ.": "-effusion +device normal",
    "No effusion or pneumothorax, right picc with tip in SVC.": "-effusion -pneumothorax +device normal",
    "No pneumothorax, ET tube in good position.": "-pneumothorax +device normal",
    "No consolidation, patchy opacity at the left base.": "-consolidation +opacity",
    "No acute disease, small effusion.": "+effusion",
    "No consolidation, heart enlarged.": "-consolidation +heart",
    "No effusion, pneumonia is present.": "-effusion +pneumonia",
    "No effusion, old rib fractures.": "-effusion +fracture",
    # Lists that stay denied.
    "No consolidation, large effusion, or pneumothorax.": "-consolidation -effusion -pneumothorax normal",
    "No consolidation, small effusion or pneumothorax.": "-consolidation -effusion -pneumothorax normal",
    "No pneumothorax or large effusion.": "-pneumothorax -effusion normal",
    "No consolidation, effusion, and pneumothorax.": "-consolidation -effusion -pneumothorax normal",
    "No consolidation, effusion, or pneumothorax is present.": "-consolidation -effusion -pneumothorax normal",
    "No pneumothorax, tubes or lines.": "-pneumothorax -device normal",
    "No consolidation, large effusion/pneumothorax.": "-consolidation -effusion -pneumothorax normal",
}
ADVICE = {
    "Follow-up to document resolution of the pneumonia is recommended.": "+pneumonia",
    "Recommend repeat film to confirm clearing of the consolidation.": "+consolidation",
    "Follow-up radiograph in 6 weeks to ensure that the consolidation has resolved.": "+consolidation",
    "Follow the effusion to resolution.": "+effusion",
    "Follow-up until resolution of the pneumothorax.": "+pneumothorax",
    "Follow-up for resolution of pneumonia is advised.": "+pneumonia",
    "Suggest follow up to assess for resolution of the opacity.": "+opacity",
    "Repeat after treatment to verify complete resolution of the infiltrate.": "+opacity",
    "Repeat in 4 weeks to make sure the pneumonia has cleared.": "+pneumonia",
    "Pneumonia, follow up to clearing.": "+pneumonia",
    "Follow-up of the nodule is recommended.": "+lesion",
    "Recommend follow-up of pneumonia.": "+pneumonia",
    "Repeat radiograph to ensure resolution of edema.": "+edema",
    "Follow-up shows resolution of the pneumonia.": "-pneumonia normal",
    "Interval resolution of the effusion.": "-effusion normal",
}
PARTLY = {
    "The effusion has almost resolved.": "+effusion",
    "The effusion has almost completely resolved.": "+effusion",
    "The effusion has partly resolved.": "+effusion",
    "The effusion has partially cleared.": "+effusion",
    "The effusion is nearly resolved.": "+effusion",
    "Nearly resolved effusion.": "+effusion",
    "Near complete resolution of the effusion.": "+effusion",
    "Near-complete clearing of the edema.": "+edema",
    "Nearly complete resolution of the edema.": "+edema",
    "Almost complete resolution of the edema.": "+edema",
    "Partial resolution of the edema.": "+edema",
    "Interval partial clearing of the consolidation.": "+consolidation",
    "The consolidation has mostly resolved.": "+consolidation",
    "The consolidation has largely cleared.": "+consolidation",
    "The consolidation has not resolved.": "+consolidation",
    "The consolidation has incompletely resolved.": "+consolidation",
    "Resolving edema.": "+edema",
    "The edema has completely resolved.": "-edema normal",
    "The edema has resolved.": "-edema normal",
}
DOUBT = {
    "Pneumonia is felt less likely.": "?pneumonia",
    "Pneumonia less likely.": "?pneumonia",
    "Pneumonia is improbable.": "?pneumonia",
    "Pneumonia seems improbable.": "?pneumonia",
    "An improbable pneumothorax.": "?pneumothorax",
    "? pneumonia": "?pneumonia",
    "Left basilar ?atelectasis": "?atelectasis",
    "Left basilar opacity ?pneumonia": "+opacity ?pneumonia",
    "Left basilar opacity ? pneumonia": "+opacity ?pneumonia",
    "Pneumonia?": "?pneumonia",
    "Pneumonia (?)": "?pneumonia",
    "Pneumonia must be considered.": "?pneumonia",
    "Pneumonia could be considered.": "?pneumonia",
    "Pneumonia should be excluded.": "?pneumonia",
    "Consider pneumonia.": "?pneumonia",
    "Pneumonia is a consideration.": "?pneumonia",
    "Pneumonia remains a possibility.": "?pneumonia",
    "Pneumonia is in the differential.": "?pneumonia",
    "Pneumonia doubtful.": "?pneumonia",
    "Doubtful pneumonia.": "?pneumonia",
    "Questionable effusion.": "?effusion",
    "Unable to exclude effusion.": "?effusion",
    "Effusion has not been excluded.": "?effusion",
    "Atelectasis vs pneumonia.": "?atelectasis ?pneumonia",
    "Atelectasis v pneumonia.": "?atelectasis ?pneumonia",
    "Atelectasis or pneumonia.": "?atelectasis ?pneumonia",
    "Atelectasis and/or pneumonia.": "?atelectasis ?pneumonia",
    "Atelectasis / pneumonia": "?atelectasis ?pneumonia",
    "Consolidation/atelectasis at the left base.": "?consolidation ?atelectasis",
    "Edema/pneumonia/atelectasis": "?edema ?pneumonia ?atelectasis",
    "Favor atelectasis.": "?atelectasis",
    "Suspicious for pneumonia.": "?pneumonia",
    "Small effusion suspected.": "?effusion",
    # One thing by two names is not in doubt, and what is denied stays denied.
    "Left nodule/mass.": "+lesion",
    "No pneumothorax/effusion.": "-pneumothorax -effusion normal",
    "Pneumonia is unlikely.": "-pneumonia normal",
}
ABBREVIATIONS = {
    "RLL PNA": "+pneumonia",
    "LLL pna w/ effusion": "+pneumonia +effusion",
    "No PNA": "-pneumonia normal",
    "no ptx or eff": "-pneumothorax -effusion normal",
    "sm L eff": "+effusion",
    "Bilat effs, R>L": "+effusion",
    "RML atx": "+atelectasis",
    "bibasilar atx w/o eff": "+atelectasis -effusion",
    "R PTX": "+pneumothorax",
    "No e/o PTX": "-pneumothorax normal",
    "LUL consol c/w PNA": "+consolidation +pneumonia",
    "poss PNA": "?pneumonia",
    "RLL opacity c/f PNA": "+opacity ?pneumonia",
    "no acute dz": "normal",
    "r/o PNA": "",
    "neg for PTX": "-pneumothorax normal",
    "NAD": "normal",
    "Heart nl": "-heart normal",
    "ETT in place": "+device",
}
SECTIONS = {
    "Indication: pneumonia. No effusion.": "-effusion normal",
    "INDICATION: Effusion, pneumothorax.\nFINDINGS: Cardiomegaly.": "+heart",
    "INDICATION: Cough. Known effusion. Fever.\n\nFINDINGS: Cardiomegaly.": "+heart",
    "HISTORY: Pneumonia. Edema. IMPRESSION: No pneumothorax.": "-pneumothorax normal",
    "HISTORY: Pneumonia\nThe lungs are clear.": "-opacity normal",
    "HISTORY\nPneumonia\nFINDINGS\nClear lungs": "-opacity normal",
    "Clinical history: effusion. Heart normal.": "-heart normal",
    "CLINICAL INFORMATION: CHF. FINDINGS: No edema.": "-edema normal",
    "Reason for exam: pneumothorax. FINDINGS: No edema.": "-edema normal",
    "REASON FOR EXAMINATION: r/o PNA\nFINDINGS: Left effusion.": "+effusion",
    "Indication - pneumonia. Lungs are clear.": "-opacity normal",
    "COMPARISON: Radiograph with effusion. FINDINGS: No edema.": "-edema normal",
    "Comparison: CT of pneumonia.\n\nThe lungs are clear.": "-opacity normal",
    "TECHNIQUE: Portable, to see the pacemaker. FINDINGS: No edema.": "-edema normal",
    "EXAM: Chest for effusion\n\nINDICATION: Edema\n\nIMPRESSION: Right pneumothorax.": "+pneumothorax",
    "INDICATION:\nPneumonia.\n\nFINDINGS:\nClear lungs.": "-opacity normal",
    "indication : pneumonia . findings : lungs are clear .": "-opacity normal",
    "Lungs are clear. HISTORY: pneumonia.": "-opacity normal",
    "Indication: pneumonia. Lungs: clear. Heart: enlarged.": "-opacity +heart",
    "FINDINGS: Left effusion. IMPRESSION: Effusion.": "+effusion",
    "Compared to the previous study: new left effusion.": "+effusion",
    """EXAMINATION: CHEST (PORTABLE AP)

    INDICATION: Man with pneumonia // ? tube placement, edema

    COMPARISON: Radiograph with left effusion.

    FINDINGS:

    The lungs are well expanded. There is no focal consolidation, pleural
    effusion, or pneumothorax. The tip of the endotracheal tube is above the
    Carina.

    IMPRESSION:

    1. No acute process.
    2. ETT in appropriate position.""": "-consolidation -effusion -pneumothorax +device normal",
}
KINDS = {
    **{"lines": LINES, "lists": LISTS, "dashes": DASHES, "answers": ANSWERS, "contractions": CONTRACTIONS},
    **{"denials": DENIALS, "coordination": COORDINATION, "advice": ADVICE, "partly": PARTLY, "doubt": DOUBT},
    **{"abbreviations": ABBREVIATIONS, "sections": SECTIONS},
}


@pytest.mark.parametrize(("kind", "report"), [(kind, report) for kind in KINDS for report in KINDS[kind]])
def test_kinds(kind, report):
    wanted = {SHORT[word[1:]]: SIGNS[word[0]] for word in KINDS[kind][report].split() if word != "normal"}
    if "normal" in KINDS[kind][report].split():
        wanted["No Finding"] = "positive"
    assert label_report(report) == wanted


@pytest.mark.parametrize(
    ("report", "side"),
    [
        ("LLL PNA", "left"),
        ("RML atx", "right"),
        ("bilat eff", "bilateral"),
        ("b/l effs", "bilateral"),
        ("sm R eff", "right"),
    ],
)
def test_sides_of_abbreviations(report, side):
    assert [mention.side for mention in find_mentions(report)] == [side]


def test_shared_cases(shared):
    file = shared / "cases" / "labels.jsonl"
    if not file.is_file():
        pytest.skip(f"no {file}")
    cases = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(cases) == 35
    for case in cases:
        labels = label_report(case["report"])
        assert {name: labels.get(name, "absent") for name in case["expected"]} == case["expected"], case["report"]
