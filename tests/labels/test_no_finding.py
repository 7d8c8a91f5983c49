"""When the rule labeller says "No Finding": only where something normal, and nothing else, was read."""

import pytest

from cxr_jax.labels.rules import find_mentions, is_read, label_report, rule_labels

NORMAL = """
    Normal chest.
    Normal.
    Unremarkable exam.
    Negative chest.
    No active disease.
    No acute cardiopulmonary disease.
    No acute findings.
    No acute cardiopulmonary abnormality.
    No abnormality detected.
    Normal pulmonary vascularity.
    Lungs are clear. Pacemaker.
    Lungs are normally expanded.
""".strip().splitlines()
# Nothing is read in them at all.
UNREAD = """
    nan
    NaN
    None
    N/A
    XXXX.
    XXXX XXXX.
    -
    []
    Report not available.
    See above.
    Chest PA and lateral.
    PA and lateral views of the chest were obtained.
    Comparison: none.
    Heart size cannot be evaluated.
    Heart size is difficult to assess.
    The heart cannot be assessed.
    Pneumothorax cannot be assessed.
    No prior studies.
    No comparison.
    Unchanged.
    No change.
    No interval change.
    Findings were discussed with the referring physician.
    Discussed with Dr. XXXX at 10 am.
    Signed electronically.
    Indication: pneumonia.
    History of pneumonia.
    Kein Nachweis eines Pneumothorax.
    Keine Infiltrate. Pneumothorax rechts.
    Herzgröße normal. Keine Ergüsse.
    Pas de pneumothorax.
    Absence d'épanchement pleural. Pneumothorax gauche.
    Poumons clairs, coeur normal.
    Sin consolidación. Cardiomegalia.
    No se observa consolidacion ni derrame. Silueta cardiaca normal.
    Sem pneumotórax. Cardiomegalia.
    Non si osserva pneumotorace. Cuore normal.
    Geen pneumothorax. Hart normaal.
    Пневмоторакса нет.
    未见气胸。
    胸部正常。normal
""".strip().splitlines()
# Findings that are none of the fourteen, after something normal.
OTHER = """
    Free air under the right hemidiaphragm.
    Free intraperitoneal air.
    Subdiaphragmatic free gas.
    Pneumoperitoneum.
    Mediastinal lymphadenopathy.
    Hilar adenopathy.
    Enlarged hilar lymph nodes.
    Left hilar enlargement.
    Prominent hila.
    Kerley B lines.
    Septal lines.
    Pulmonary tuberculosis.
    Active TB.
    Cavitary tuberculosis.
    Pericardial effusion.
    Pneumomediastinum.
    Subcutaneous emphysema.
    Bronchiectasis.
    Mediastinal shift to the left.
    Tracheal deviation.
    Honeycombing.
    Pulmonary metastases.
    Hiatal hernia.
    Sarcoidosis.
    Foreign body in the esophagus.
    Shoulder dislocation.
    Flattened diaphragms.
    Abnormal chest.
    The chest is not normal.
    Abnormality at the right apex.
""".strip().splitlines()


@pytest.mark.parametrize("report", [report.strip() for report in NORMAL])
def test_something_normal_is_no_finding(report):
    assert "No Finding" in label_report(report)


@pytest.mark.parametrize("report", [report.strip() for report in UNREAD])
def test_a_report_of_which_nothing_is_read_has_no_labels(report):
    assert not is_read(report)
    assert label_report(report) == {}


@pytest.mark.parametrize("report", [report.strip() for report in OTHER])
def test_other_findings_forbid_no_finding(report):
    assert is_read(report)
    assert "No Finding" not in label_report(f"The heart is normal. {report}")
    assert not {"Pneumothorax", "Enlarged Cardiomediastinum", "Cardiomegaly"} & rule_labels([report])[0]


@pytest.mark.parametrize(
    "report", ["No free air.", "No lymphadenopathy.", "No evidence of tuberculosis.", "Not enlarged hila."]
)
def test_other_findings_denied_are_normal(report):
    assert label_report(report) == {"No Finding": "positive"}
    assert find_mentions(report) == []


def test_devices_alone_are_not_normal():
    assert rule_labels(["Pacemaker.", "The chest tube has been removed."]) == [{"Support Devices"}, set()]
    assert is_read("The chest tube has been removed.")
