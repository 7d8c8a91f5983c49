import numpy as np
import pytest

from cxr_jax.phantom.drawing import draw_frontal, draw_study
from cxr_jax.phantom.regions import finding_boxes, finding_mask, finding_region
from cxr_jax.phantom.reports import Finding
from tests.phantom.samples import every_finding

SIZE = 96


def test_the_frontal_view_alone_is_the_study_s():
    findings = (Finding("nodule", "left", "upper lobe"), Finding("cardiomegaly", severity="mild"))
    np.testing.assert_array_equal(draw_frontal(findings, [3, 1], SIZE), draw_study(findings, [3, 1], SIZE)[0])


@pytest.mark.parametrize("kind", sorted({finding.kind for finding in every_finding()}))
def test_every_finding_has_a_region_that_holds_what_it_changes(kind):
    for finding in (finding for finding in every_finding() if finding.kind == kind):
        mask = finding_mask((finding,), finding, [5, 1], SIZE)
        region = finding_region((finding,), finding, [5, 1], SIZE)
        assert 0 < region.mean() < 0.75
        assert (mask & region).sum() >= 0.9 * mask.sum()


def test_a_finding_s_region_is_its_own():
    """Beside others it is found where it is found alone, and the patient's left is the image's right."""
    nodule, heart = Finding("nodule", "left", "upper lobe"), Finding("cardiomegaly", severity="severe")
    alone = finding_region((nodule,), nodule, [5, 2], SIZE)
    np.testing.assert_array_equal(finding_region((heart, nodule), nodule, [5, 2], SIZE), alone)
    assert not alone[:, : SIZE // 2].any()
    rows, columns = np.nonzero(alone)
    assert np.ptp(rows) + 1 == pytest.approx(0.1 * SIZE, abs=3)
    assert np.ptp(columns) + 1 == pytest.approx(0.1 * SIZE, abs=3)
    whole = finding_region((heart, nodule), heart, [5, 2], SIZE)
    assert whole[int(0.6 * SIZE), int(0.45 * SIZE) : int(0.6 * SIZE)].all()  # the heart, not its borders


def test_a_bilateral_finding_has_a_box_in_each_half():
    finding = Finding("effusion", "bilateral", severity="small")
    boxes = finding_boxes(finding_mask((finding,), finding, [5, 3], SIZE), bilateral=True)
    assert [box[0] >= SIZE // 2 for box in boxes] == [False, True]
    assert all(right - left < SIZE // 2 and bottom <= SIZE for left, _, right, bottom in boxes)


def test_boxes_leave_stray_pixels_out():
    mask = np.zeros((40, 40), bool)
    assert finding_boxes(mask) == []
    mask[10:20, 5:30] = True
    mask[39, 39] = True
    assert finding_boxes(mask) == [(5, 10, 30, 20)]
