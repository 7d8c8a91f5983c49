import csv
import functools
import json
import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from cxr_jax.errors import InputError
from cxr_jax.phantom import release as phantom
from cxr_jax.phantom.drawing import FRONTAL, LATERAL, SHAPES, draw_study
from cxr_jax.phantom.reports import (
    KINDS,
    NORMAL_BY_REGION,
    NORMAL_SUMMARIES,
    Finding,
    sample_findings,
    state,
    summarise,
    write_report,
)

SIZE = 64
DENIAL = re.compile(r"^(No|There is no|There are no|Negative for|No evidence of)\b")


def sampled(count, seed=0):
    for number in range(1, count + 1):
        yield phantom.study_findings_and_report(seed, number)


def every_finding():
    """Each combination of kind, side, place and severity that the sampler can draw."""
    for name, kind in KINDS.items():
        for side in kind.sides:
            for place in kind.places:
                for severity in kind.severities:
                    if (side, place) != ("left", "middle lobe"):
                        yield Finding(name, side, place, severity)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return phantom.write_release(tmp_path_factory.mktemp("phantom") / "release", 24, image_size=SIZE, seed=3, workers=1)


# The release


def test_two_workers_write_the_same_bytes(release, tmp_path):
    assert contents(phantom.write_release(tmp_path, 24, image_size=SIZE, seed=3, workers=2)) == contents(release)


def test_a_study_does_not_depend_on_how_many_are_drawn(release, tmp_path):
    few = contents(phantom.write_release(tmp_path, 3, image_size=SIZE, seed=3, workers=1))
    many = contents(release)
    shared = [name for name in few if name.endswith((".png", ".xml"))]
    assert len(shared) == 9
    assert all(few[name] == many[name] for name in shared)


def test_another_seed_draws_others(release, tmp_path):
    other = contents(phantom.write_release(tmp_path, 1, image_size=SIZE, seed=4, workers=1))
    assert other["NLMCXR_png/CXR1_IM-0001-1001.png"] != contents(release)["NLMCXR_png/CXR1_IM-0001-1001.png"]


def test_layout_is_open_is(release):
    rows = list(csv.DictReader((release / "indiana_projections.csv").read_text().splitlines()))
    assert rows[:2] == [
        {"uid": "1", "filename": "1_IM-0001-1001.dcm.png", "projection": "Frontal"},
        {"uid": "1", "filename": "1_IM-0001-2001.dcm.png", "projection": "Lateral"},
    ]
    assert len(rows) == 48
    for row in rows:
        with Image.open(release / "NLMCXR_png" / f"CXR{row['filename'].removesuffix('.dcm.png')}.png") as image:
            assert (image.mode, image.size) == ("L", (SIZE, SIZE))
    assert json.loads((release / "release.json").read_text()) == {
        "name": "phantom",
        "drawn": True,
        "studies": 24,
        "image_size": SIZE,
        "seed": 3,
        "version": phantom.VERSION,
    }


def test_xml_says_what_the_report_says_and_that_it_is_drawn(release):
    for number in range(1, 25):
        root = ElementTree.parse(release / "ecgen-radiology" / f"{number}.xml").getroot()
        _, report = phantom.study_findings_and_report(3, number)
        sections = {part.get("Label"): part.text for part in root.iter("AbstractText")}
        assert sections == {
            "COMPARISON": report.comparison,
            "INDICATION": report.indication,
            "FINDINGS": report.findings,
            "IMPRESSION": report.impression,
        }
        assert root.find("uId").get("id") == f"CXR{number}"
        assert tuple(tag.text for tag in root.findall("MeSH/major")) == report.tags
        for image in root.findall("parentImage"):
            assert (release / "NLMCXR_png" / f"{image.get('id')}.png").exists()
            assert image.find("panel/url").text.endswith(f"{image.get('id')}.jpg")
        assert "no patient" in root.find("licenseType").text


def test_xml_escapes():
    report = phantom.study_findings_and_report(0, 1)[1]
    nasty = type(report)("a < b & c", report.indication, report.findings, report.impression, report.tags)
    assert ElementTree.fromstring(phantom.report_xml(1, nasty)).find(".//AbstractText").text == "a < b & c"


def test_a_whole_release_is_left_alone(release):
    image = release / "NLMCXR_png" / "CXR1_IM-0001-1001.png"
    before = image.stat().st_mtime_ns
    phantom.write_release(release, 24, image_size=SIZE, seed=3)
    assert image.stat().st_mtime_ns == before


def test_an_interrupted_release_is_taken_up_again(tmp_path, monkeypatch, release):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "write_projections", stop)
    with pytest.raises(KeyboardInterrupt):
        phantom.write_release(tmp_path, 24, image_size=SIZE, seed=3, workers=1)
    assert not (tmp_path / "release.json").exists()
    monkeypatch.undo()
    with pytest.raises(InputError, match="another release"):
        phantom.write_release(tmp_path, 25, image_size=SIZE, seed=3, workers=1)
    assert contents(phantom.write_release(tmp_path, 24, image_size=SIZE, seed=3, workers=1)) == contents(release)


@pytest.mark.parametrize("change", [{"num_studies": 25}, {"image_size": 96}, {"seed": 4}])
def test_another_release_in_the_folder_is_refused(release, change):
    arguments = {"num_studies": 24, "image_size": SIZE, "seed": 3} | change
    with pytest.raises(InputError, match=r"release\.json.*another release") as error:
        phantom.write_release(release, **arguments)
    assert "\n" not in str(error.value)


def test_other_files_in_the_folder_are_refused(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(InputError, match="no phantom release"):
        phantom.write_release(tmp_path, 1)
    with pytest.raises(InputError, match="not a folder"):
        phantom.write_release(tmp_path / "thesis.docx", 1)


@pytest.mark.parametrize("change", [{"num_studies": 0}, {"image_size": 31}, {"seed": -1}, {"workers": 0}])
def test_bad_arguments_are_refused_in_one_line(tmp_path, change):
    with pytest.raises(InputError) as error:
        phantom.write_release(tmp_path / "new", **({"num_studies": 1} | change))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_command_line(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "new"), "--studies", "1", "--size", "48", "--workers", "1"]
    assert phantom.main(arguments) == 0
    assert (tmp_path / "new" / "release.json").exists()
    assert phantom.main([*arguments[:3], "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# Reports


def test_every_kind_is_drawn_in_both_registries():
    assert set(KINDS) == set(FRONTAL) | set(SHAPES)
    assert set(LATERAL) <= set(KINDS)


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


# Drawing


@functools.cache
def without_findings(number, size):
    return draw_study((), [5, number], size)[0].astype(float)


def difference(finding, number=1, size=SIZE):
    """Where a finding changes the frontal picture of one and the same patient."""
    return np.abs(draw_study((finding,), [5, number], size)[0] - without_findings(number, size))


SIDED = [finding for finding in every_finding() if finding.side in ("right", "left") and finding.kind != "scoliosis"]


@pytest.mark.parametrize("finding", SIDED, ids=lambda finding: finding.tag)
def test_a_finding_shows_on_its_side(finding):
    changed = difference(finding)
    if finding.kind == "central_line":
        # From either side the line ends in the superior vena cava: only its way there tells the side.
        changed = changed[: SIZE // 4]
    # The patient's right is the image's left.
    halves = {"right": changed[:, : SIZE // 2].sum(), "left": changed[:, SIZE // 2 :].sum()}
    other = {"right": "left", "left": "right"}[finding.side]
    assert halves[finding.side] > 1.5 * halves[other], halves


@pytest.mark.parametrize("side", ["right", "left"])
def test_scoliosis_bows_to_the_stated_side(side):
    plain, bent = (
        draw_study(findings, [5, 1], SIZE)[0].astype(float)
        for findings in ((), (Finding("scoliosis", side, severity="mild"),))
    )
    rows = slice(int(0.38 * SIZE), int(0.52 * SIZE))
    middle = slice(SIZE // 3, 2 * SIZE // 3)
    weight = (bent - plain)[rows, middle].sum(axis=0)
    shift = (weight * (np.arange(weight.size) - weight.size / 2)).sum()
    assert np.sign(shift) == {"right": -1, "left": 1}[side]


@pytest.mark.parametrize(("kind", "side"), [("consolidation", "right"), ("nodule", "left"), ("granuloma", "right")])
def test_upper_lobe_lies_above_lower_lobe(kind, side):
    heights = []
    for place in ("upper lobe", "lower lobe"):
        changed = difference(Finding(kind, side, place))
        heights.append((changed.sum(axis=1) * np.arange(SIZE)).sum() / changed.sum())
    assert heights[0] + 0.15 * SIZE < heights[1]


@pytest.mark.parametrize("size", [64, 128])
def test_every_finding_is_visible_in_the_frontal_view(size):
    for finding in every_finding():
        changed = difference(finding, size=size)
        # Eight grey levels on an area of at least one pixel in 2,000: far above the grain of one to three levels.
        assert np.sort(changed.ravel())[-size * size // 2000] > 8, finding


def test_the_film_shows_air_dark_and_the_apex_of_the_heart_on_the_left():
    frontal = np.mean([draw_study((), [6, n], SIZE)[0] for n in range(4)], axis=0) / 255

    def region(x, y):
        rows, columns = (slice(int((at - 0.03) * SIZE), int((at + 0.03) * SIZE)) for at in (y, x))
        return frontal[rows, columns].mean()

    assert region(0.3, 0.45) < region(0.5, 0.6) - 0.25
    assert region(0.7, 0.45) < region(0.7, 0.9) - 0.25
    assert region(0.62, 0.64) > region(0.38, 0.64) + 0.15
    assert frontal[2:6, 2:6].mean() < 0.5


@pytest.mark.parametrize("size", [32, 100, 312])
def test_other_sizes_show_the_same_picture(size):
    small, large = (
        np.asarray(
            Image.fromarray(draw_study((Finding("nodule", "left", "upper lobe"),), [8, 2], side)[0]).resize((32, 32)),
            float,
        )
        for side in (size, 128)
    )
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.98
