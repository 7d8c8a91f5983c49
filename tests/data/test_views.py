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
        # As archives write them
        (["AP_horizontal", "Chest PA", "PORTABLE AP", "AP/PA", "Frontal, AP", "AP LORDOTIC"], "frontal"),
        (["A.P.", "P.A", "P-A", "antero-posterior", "POSTEROANTERIOR"], "frontal"),
        (["CROSS-TABLE LATERAL", "X-TABLE LAT", "XTABLE", "LT LAT", "R LAT", "Chest_Lat", "latero-lateral"], "lateral"),
        # The patient lies on the side, and is seen from the front; on the back or front, from the side.
        (["LATERAL DECUB", "LEFT LATERAL DECUBITUS", "R DECUB", "LLD", "AP LLD"], "frontal"),
        (["DORSAL DECUBITUS", "ventral decub"], "lateral"),
        (["DECUB", "PA OBLIQUE", "LATERAL OBLIQUE", "AP LAO"], ""),
        # Two views are none
        (["PA/LAT", "PA AND LATERAL", "AP LATERAL", "frontal & lateral"], ""),
    ],
)
def test_views(names, view):
    assert {view_of(name) for name in names} == {view}
