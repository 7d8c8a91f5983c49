import pytest

from cxr_jax.data.views import view_of


@pytest.mark.parametrize(
    ("names", "view"),
    [
        # MIMIC-CXR's
        (["PA", "AP", "ap", "AP AXIAL", "PA LLD", "AP RLD"], "frontal"),
        (["LATERAL", "LL", "RL", "XTABLE LATERAL"], "lateral"),
        (["", "LAO", "RAO", "LPO", "SWIMMERS", "AXIAL"], ""),
        # Open-i's
        (["Frontal"], "frontal"),
        (["Lateral", "LARGE LATERAL"], "lateral"),
        (["Oblique"], ""),
        # Tables that people write
        (["frontal", "ap supine", "AP Erect", "ap semi erect", " pa "], "frontal"),
        (["L", "lat", "left lateral", "Right Lateral"], "lateral"),
        (["L spine", "bilateral", "?"], ""),
    ],
)
def test_views(names, view):
    assert {view_of(name) for name in names} == {view}
