import re
from collections import Counter

import numpy as np

from cxr_jax.phantom.reports import (
    KINDS,
    NORMAL_BY_REGION,
    NORMAL_SUMMARIES,
    Finding,
    affirmed_kinds,
    sample_findings,
    state,
    summarise,
    write_report,
)
from tests.phantom.samples import every_finding, sampled

DENIAL = re.compile(r"^(No|There is no|There are no|Negative for|No evidence of)\b")


def test_headings_are_unique():
    assert len({kind.heading for kind in KINDS.values()}) == len(KINDS) >= 14


def test_every_wording_carries_its_finding_and_no_other():
    rng = np.random.default_rng(0)
    for finding in every_finding():
        for text in {speak(finding, rng) for speak in (state, summarise) for _ in range(12)}:
            assert [name for name, kind in KINDS.items() if re.search(kind.mention, text, re.I)] == [finding.kind], text
            assert "{" not in text
            assert re.fullmatch(r"[A-Z].*\.", text)
            if finding.side == "bilateral":
                assert re.search("bilateral", text, re.I)
            elif finding.side:
                assert re.search(rf"\b{finding.side}\b", text, re.I)
                assert not re.search(
                    r"\b(left|right)\b", text.lower().replace(finding.side, "").replace("right heart", "")
                )
            assert not finding.place or re.search(finding.place, text, re.I)
        assert any(finding.severity in state(finding, rng).lower() for _ in range(3))


def test_normal_statements_mention_no_finding():
    for text in [*NORMAL_SUMMARIES, *(text for texts in NORMAL_BY_REGION.values() for text in texts)]:
        assert not any(re.search(kind.mention, text, re.I) for kind in KINDS.values()), text


def test_a_report_affirms_what_is_there_and_denies_nothing_of_it():
    for findings, report in sampled(1500):
        affirmed = Counter()
        for sentence in re.split(r"(?<=\.) ", report.findings):
            hits = [name for name, kind in KINDS.items() if re.search(kind.mention, sentence, re.I)]
            if DENIAL.search(sentence):
                assert not set(hits) & {finding.kind for finding in findings}, report.findings
            else:
                affirmed.update(hits)
        assert affirmed == Counter(finding.kind for finding in findings), report.findings
        assert report.tags == (tuple(finding.tag for finding in findings) or ("normal",))
        if "lungs are clear" in report.findings.lower():
            assert not {KINDS[finding.kind].region for finding in findings} & {"lungs"}


def test_a_sentence_affirms_its_finding_and_a_denial_none():
    rng = np.random.default_rng(0)
    for finding in every_finding():
        assert affirmed_kinds(state(finding, rng)) == affirmed_kinds(summarise(finding, rng)) == (finding.kind,)
    for kind in KINDS.values():
        for phrase in kind.absent:
            assert affirmed_kinds(f"There is no evidence of {phrase}.") == affirmed_kinds(f"Without {phrase}.") == ()
    assert affirmed_kinds("Clear lungs.") == ()
    assert affirmed_kinds("Left pleural effusion and cardiomegaly") == ("cardiomegaly", "effusion")


def test_impression_summarises_every_finding():
    for findings, report in sampled(300):
        for finding in findings:
            assert re.search(KINDS[finding.kind].mention, report.impression, re.I)


def test_tags_follow_open_is_manner():
    tags = {finding.tag for finding in every_finding()}
    assert {
        "Cardiomegaly/mild",
        "Pleural Effusion/right/small",
        "Pleural Effusion/bilateral/large",
        "Pneumothorax/left/apex/small",
        "Consolidation/lung/upper lobe/right",
        "Lung/hyperdistention",
        "Scoliosis/thoracic vertebrae/right/mild",
        "Implanted Medical Device/left",
    } <= tags
    assert not any("middle lobe/left" in tag for tag in tags)


def test_a_third_is_normal_and_no_label_is_rare():
    counts, lengths, redacted = Counter(), [], 0
    for findings, report in sampled(2000):
        counts.update({finding.label for finding in findings} or {"normal"})
        lengths.append(len(report.findings.split()))
        redacted += "XXXX" in report.findings
        assert len(findings) <= 4
    assert 0.28 < counts["normal"] / 2000 < 0.40
    assert 22 <= len(counts) - 1 <= 28
    assert min(counts.values()) / 2000 >= 0.03, counts.most_common()[-3:]
    assert 20 < np.mean(lengths) < 60
    assert 0.02 < redacted / 2000 < 0.4


def test_reports_of_one_finding_are_worded_differently():
    texts = {write_report((Finding("hyperinflation"),), np.random.default_rng(i)).findings for i in range(50)}
    assert len(texts) > 45


def test_findings_that_hide_one_another_are_not_sampled_together():
    for seed in range(500):
        findings = sample_findings(np.random.default_rng(seed))
        sides = [finding.side for finding in findings if finding.kind in ("effusion", "atelectasis")]
        assert "bilateral" not in sides or len(sides) == 1
