"""The rule labeller on sentences whose author had not seen its rules; conventions are those of docs/labels.md."""

import pytest

from cxr_jax.labels.rules import find_mentions, label_report

SHORT = {
    "ECM": "Enlarged Cardiomediastinum",
    "CM": "Cardiomegaly",
    "LO": "Lung Opacity",
    "LL": "Lung Lesion",
    "ED": "Edema",
    "CO": "Consolidation",
    "PN": "Pneumonia",
    "AT": "Atelectasis",
    "PX": "Pneumothorax",
    "PE": "Pleural Effusion",
    "PO": "Pleural Other",
    "FX": "Fracture",
    "SD": "Support Devices",
}
SIGNS = {"+": "positive", "?": "uncertain", "-": "negative"}

# Sentence → all that it says: observation, + there / ? in doubt / - denied, and the side where one is given.
BY_HAND = {
    # Denied, before and after; lists.
    "No pneumothorax.": "PX-",
    "No pleural effusion, pneumothorax, or focal consolidation is seen.": "PE- PX- CO-",
    "There is neither edema nor effusion.": "ED- PE-",
    "The lungs are free of consolidation, edema, or nodules.": "CO- ED- LL-",
    "Pneumothorax is not seen.": "PX-",
    "A pneumothorax has not been identified.": "PX-",
    "Pleural effusions are absent.": "PE-",
    "Pneumothorax: none.": "PX-",
    "Negative for acute fracture or pneumothorax.": "FX- PX-",
    "Interval resolution of the left effusion.": "PE- left",
    "The pneumonia has resolved.": "PN-",
    "Cardiomegaly without pulmonary edema.": "CM+ ED-",
    "Lungs without infiltrate.": "LO-",
    "Lack of a pleural effusion makes heart failure unlikely.": "PE- ED-",
    # Where the denial ends.
    "No pneumothorax but there is a small right effusion.": "PX- PE+ right",
    "No effusion; moderate cardiomegaly.": "PE- CM+",
    "No pneumothorax, however a left effusion remains.": "PX- PE+ left",
    "No focal consolidation, with small bilateral pleural effusions.": "CO- PE+ bilateral",
    "No pneumothorax, mild bibasilar atelectasis.": "PX- AT+ bilateral",
    "No acute disease other than minimal atelectasis.": "AT+",
    "Aside from a left nodule, the lungs are clear.": "LL+ left LO-",
    "No effusion is seen and the heart is enlarged.": "PE- CM+",
    "No fracture, and an opacity is seen in the left base.": "FX- LO+ left",
    "The effusion is small and pneumothorax is not seen.": "PE+ PX-",
    # Not the finding, only its change, is denied.
    "No change in the left pleural effusion.": "PE+ left",
    "No interval increase in the pulmonary edema.": "ED+",
    "The right pneumothorax has not significantly changed.": "PX+ right",
    "Effusion without significant change.": "PE+",
    "No new consolidation.": "CO-",
    # In doubt, before and after.
    "Left basilar opacity may represent pneumonia.": "LO+ left PN?",
    "Pneumonia cannot be excluded.": "PN?",
    "Cannot exclude a small left effusion.": "PE? left",
    "Retrocardiac atelectasis versus pneumonia.": "AT? PN?",
    "Right base opacity, atelectasis vs. infection.": "LO+ right AT? PN?",
    "Questionable nodule in the right upper lobe.": "LL? right",
    "Findings suggest mild congestive heart failure.": "ED?",
    "Probable scarring at the left apex.": "LO? left",
    "A rib fracture is possible.": "FX?",
    "Pneumonia is not excluded.": "PN?",
    "A small effusion would be difficult to exclude.": "PE?",
    "This is likely pneumonia.": "PN?",
    "The left basilar opacity is likely atelectasis.": "LO+ left AT?",
    "The density is suspected consolidation, and an effusion is possible.": "LO+ CO? PE?",
    "This is concerning for a mass.": "LL?",
    "Opacity most likely atelectasis, less likely pneumonia.": "LO+ AT? PN?",
    # Normal, borderline and enlarged structures.
    "The heart is normal in size.": "CM-",
    "Normal heart size and mediastinal contours.": "CM- ECM-",
    "Heart size within normal limits.": "CM-",
    "The cardiomediastinal silhouette is unremarkable.": "ECM- CM-",
    "The heart size is borderline.": "CM?",
    "Borderline enlarged cardiac silhouette.": "CM?",
    "The heart is mildly enlarged.": "CM+",
    "Enlarged cardiac silhouette.": "CM+",
    "Cardiac enlargement is stable.": "CM+",
    "The heart is not enlarged.": "CM-",
    "The mediastinum is widened.": "ECM+",
    "Widened superior mediastinum.": "ECM+",
    "No mediastinal widening.": "ECM-",
    "The heart is top normal in size.": "CM-",
    # Pleura.
    "The costophrenic angles are sharp.": "PE-",
    "Blunting of the left costophrenic angle.": "",
    "No blunting of the costophrenic angles.": "",
    "Biapical pleural thickening.": "PO+ bilateral",
    "Small pericardial effusion.": "",
    "Pericardial effusion and a right pleural effusion.": "PE+ right",
    # Sides.
    "Small left and moderate right pleural effusions.": "PE+ bilateral",
    "Left pneumothorax and right effusion.": "PX+ left PE+ right",
    "Bilateral effusions, right greater than left.": "PE+ bilateral",
    "Right effusion but no left effusion.": "PE+ right",
    "Atelectasis in the left lung base.": "AT+ left",
    "Left-sided pacemaker with leads.": "SD+ left",
    "Right  basilar  atelectasis.": "AT+ right",
    "Effusion on the right, pneumothorax on the left.": "PE+ right PX+ left",
    # Asked for, past, or taken out.
    "History of pneumonia.": "",
    "Evaluate for pneumothorax.": "",
    "Rule out fracture.": "",
    "The right chest tube has been removed.": "SD- right",
    "Interval removal of the endotracheal tube.": "SD-",
    # Devices.
    "Right internal jugular central venous catheter tip in the SVC.": "SD+ right",
    "Status post pacemaker placement.": "SD+",
    "ET tube, NG tube and left PICC line in place.": "SD+ left",
    # Spellings.
    "No pneumothoraces or pleural-effusions.": "PX- PE-",
    "No  acute  air-space  disease.": "LO-",
    "Cardiomegally is noted.": "CM+",
    "No pneumonthorax or effussion.": "PX- PE-",
    "There are bilateral infiltrates and opacities.": "LO+ bilateral",
    "Air-space opacity in the XXXX lobe.": "LO+",
    "XXXX XXXX opacity, XXXX atelectasis.": "LO+ AT+",
    "No XXXX pneumothorax or XXXX effusion.": "PX- PE-",
    "no pneumothorax pleural effusion or focal air space disease .": "PX- PE- LO-",
    "heart size normal . left basilar opacity . no pneumothorax .": "CM- LO+ left PX-",
    "THERE IS A LEFT PNEUMOTHORAX": "PX+ left",
    # Bones and lungs; mass and its effect.
    "Lytic lesion of the left humerus.": "",
    "No suspicious bony lesions.": "",
    "Lesion in the left lung.": "LL+ left",
    "Left upper lobe mass.": "LL+ left",
    "There is no mass effect on the trachea.": "",
    "Old healed right rib fractures.": "FX+ right",
    "Bony structures are intact.": "FX-",
    "Calcified nodule in the right lower lobe.": "LL+ right",
    # Clear, or not.
    "The lungs are clear.": "LO-",
    "The lungs are clear of focal consolidation.": "LO- CO-",
    "Interstitial markings are prominent.": "LO+",
    "Normal pulmonary vascularity.": "",
    "The trachea is midline.": "",
}  # fmt: skip


def expected(said):
    statuses, name = {}, ""
    for word in said.split():
        if word[-1] in SIGNS:
            name = SHORT[word[:-1]]
            statuses[name] = (SIGNS[word[-1]], "")
        else:
            statuses[name] = (statuses[name][0], word)
    return statuses


@pytest.mark.parametrize(("sentence", "said"), BY_HAND.items(), ids=list(BY_HAND))
def test_by_hand(sentence, said):
    wanted, mentions, labels = expected(said), find_mentions(sentence), label_report(sentence)
    assert {name: status for name, status in labels.items() if name != "No Finding"} == {
        name: status for name, (status, _) in wanted.items()
    }
    for name, (status, side) in wanted.items():
        if side:
            assert {m.side for m in mentions if (m.observation, m.status) == (name, status) and m.side} == {side}
