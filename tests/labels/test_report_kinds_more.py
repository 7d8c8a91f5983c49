"""More kinds of reports that labellers misread: signs, tables, what a denial does not reach, partial resolution, doubt.

Made up for these tests, in the notation of `tests.labels.notation`; an observation that is not written is not said.
"""

import pytest

from cxr_jax.labels.rules import label_report
from tests.labels.notation import SHORT, SIGNS

MARKS = {
    "Consolidation: (-)\nEdema: (+)": "-consolidation +edema",
    "(-) consolidation, (+) edema": "-consolidation +edema",
    "+ edema, - consolidation": "+edema -consolidation",
    "Edema -ve": "-edema normal",
    "+ve for pneumonia, -ve for effusion": "+pneumonia -effusion",
    "Edema: 0\nPneumonia: 1": "-edema +pneumonia",
    "Fracture [ ]  Atelectasis [x]": "-fracture +atelectasis",
    "Fracture -> no": "-fracture normal",
    "Edema = none": "-edema normal",
    "Edema..... none": "-edema normal",
    "Edema; No\nAtelectasis; Yes": "-edema +atelectasis",
    "| Edema | No |\n| Atelectasis | Yes |": "-edema +atelectasis",
    "Edema | absent | Atelectasis | present |": "-edema +atelectasis",
    "No edema | Right effusion | No fracture": "-edema +effusion -fracture",
    "EDEMA: NONE\nATELECTASIS: LEFT BASE\nFRACTURE: NONE": "-edema +atelectasis -fracture",
    "Pleura:no effusion Bones:old rib fracture": "-effusion +fracture",
    "Consolidation: no evidence of.": "-consolidation normal",
    "Pneumonia: cannot exclude": "?pneumonia",
    "Edema: equivocal": "?edema",
    "?? edema": "?edema",
}
LISTS = {
    "1.No edema 2.Right effusion": "-edema +effusion",
    "1/ No edema 2/ Right effusion": "-edema +effusion",
    "[1] No edema [2] Right effusion": "-edema +effusion",
    "* No edema * Right effusion": "-edema +effusion",
    "No edema\n\u2192 Right effusion": "-edema +effusion",
    "No edema\no Right effusion": "-edema +effusion",
    "No edema\n4 mm nodule in the lingula": "-edema +lesion",
    "No edema...right effusion": "-edema +effusion",
    "No edema + right effusion": "-edema +effusion",
}
NO_DENIALS = {
    "Non-displaced clavicle fracture.": "+fracture",
    "Non-specific interstitial opacity at the base.": "+opacity",
    "Non-loculated right effusion.": "+effusion",
    "Non cardiogenic edema.": "+edema",
    "No pneumothorax after thoracostomy tube placement.": "-pneumothorax +device normal",
    "No pneumothorax status post pacemaker placement.": "-pneumothorax +device normal",
    "No edema in spite of cardiomegaly.": "-edema +heart",
    "No edema, just atelectasis.": "-edema +atelectasis",
    "It's not edema, it's pneumonia.": "-edema +pneumonia",
    "Rather than edema, this is pneumonia.": "-edema +pneumonia",
    "Negative for edema, positive for right effusion.": "-edema +effusion",
    "No edema superimposed on the fibrosis.": "-edema +opacity",
    "No edema, effusion larger.": "-edema +effusion",
    "No edema, cardiomegaly unchanged.": "-edema +heart",
    "No edema, known right effusion.": "-edema +effusion",
    "No effusion except for a tiny one on the left.": "+effusion",
    "Effusion: none on the left, moderate on the right.": "+effusion",
    "Large left and no right effusion.": "+effusion",
    "No displacement of the rib fracture.": "+fracture",
    "No progression of the consolidation.": "+consolidation",
    "No complications after pacemaker placement.": "+device",
    "Without doubt a right effusion.": "+effusion",
    "Not much change in the right effusion.": "+effusion",
}
DENIALS = {
    "Neither lung shows consolidation.": "-consolidation normal",
    "Edema excluded.": "-edema normal",
    "Zero evidence of edema.": "-edema normal",
    "The lungs are devoid of consolidation.": "-consolidation normal",
    "Nothing to indicate edema.": "-edema normal",
    "We haven\u2019t seen any fracture.": "-fracture normal",
    "There isn\u02bct a fracture.": "-fracture normal",
    "Absent pleural effusion.": "-effusion normal",
    "Edema is negative.": "-edema normal",
    "Edema did not develop.": "-edema normal",
    "Consolidation, edema, and fracture are absent.": "-consolidation -edema -fracture normal",
    "no pulm. edema": "-edema normal",
    "No longer seen is the left pneumothorax.": "-pneumothorax normal",
}
RESOLUTION = {
    "Edema has almost completely resolved.": "+edema",
    "Edema resolved almost completely.": "+edema",
    "The edema is virtually resolved.": "+edema",
    "Edema 80% resolved.": "+edema",
    "The consolidation has cleared somewhat.": "+consolidation",
    "The consolidation has cleared for the most part.": "+consolidation",
    "Continued resolution of edema.": "+edema",
    "Non-resolving consolidation.": "+consolidation",
    "Consolidation failed to resolve.": "+consolidation",
    "Edema resolved except for minimal residual.": "+edema",
    "Left effusion resolved, but a right one persists.": "+effusion",
    "Follow-up to be sure the consolidation has cleared.": "+consolidation",
    "Edema has completely resolved.": "-edema normal",
}
DOUBTS = {
    "Low probability of pneumonia.": "?pneumonia",
    "I doubt edema.": "?edema",
    "Unclear whether this is edema.": "?edema",
    "Whether there is an effusion is uncertain.": "?effusion",
    "Pneumonia is of concern.": "?pneumonia",
    "Pneumonia until proven otherwise.": "?pneumonia",
    "Edema would be a possibility.": "?edema",
    "Edema is favored over pneumonia.": "?edema ?pneumonia",
    "Thought to represent atelectasis.": "?atelectasis",
    "Cannot be certain there is no effusion.": "?effusion",
    "Can't r/o pneumonia.": "?pneumonia",
    "Skin fold vs. pneumothorax.": "?pneumothorax",
    "Edema cannot with certainty be excluded.": "?edema",
    "Opacity (pneumonia?)": "+opacity ?pneumonia",
}
OTHERS = [
    "Silicosis", "Mucus plugging", "Pectus carinatum", "Hilar fullness", "Pulmonary hypertension", "Splenomegaly",
    "Miliary pattern", "Bullous change", "Subcutaneous gas", "Rib notching", "Tracheal narrowing", "Air-fluid level",
    "Kerley's B lines", "Enlarged pulmonary artery", "Left atrial enlargement", "Gallstones", "Tree-in-bud pattern",
]  # fmt: skip
KINDS = {
    "marks": MARKS,
    "lists": LISTS,
    "no denials": NO_DENIALS,
    "denials": DENIALS,
    "resolution": RESOLUTION,
    "doubts": DOUBTS,
    "abbreviations": {
        "PPM and DHT in place.": "+device",
        "RLL collapse.": "+atelectasis",
        "Pt. w/ atel, sans edema": "+atelectasis -edema",
        "NAPD": "normal",
    },
    "sections": {
        "**INDICATION:** edema **FINDINGS:** lungs clear": "-opacity normal",
        "<b>Indication</b>: edema<br><b>Findings</b>: lungs clear": "-opacity normal",
        "Presenting complaint: pneumonia.\nReport: lungs clear": "-opacity normal",
    },
    "languages": {
        "Paru dan jantung normal.": "",
        "Ausencia de masas. Normal.": "",
        "Pneumonie ausgeschlossen, Herz normal.": "",
    },
    "not normal": {"Heart is not of normal size.": "", "No prior normal studies.": ""},
}


@pytest.mark.parametrize(("kind", "report"), [(kind, report) for kind, cases in KINDS.items() for report in cases])
def test_kinds(kind, report):
    words = KINDS[kind][report].split()
    wanted = {SHORT[word[1:]]: SIGNS[word[0]] for word in words if word != "normal"}
    wanted |= {"No Finding": "positive"} if "normal" in words else {}
    assert label_report(report) == wanted


@pytest.mark.parametrize("other", OTHERS)
def test_other_findings_keep_a_report_from_no_finding(other):
    assert "No Finding" not in label_report(f"The lungs are clear. {other}.")
    assert label_report(f"The lungs are clear. No {other.lower()}.")["No Finding"] == "positive"
