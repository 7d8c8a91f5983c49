import gzip

import pytest

from cxr_jax.data.sources import openi_views as views
from cxr_jax.errors import InputError

DICOM_ROWS = (
    ("CXR2_IM-1-1001", "PA"),
    ("CXR2_IM-1-2001", "LL"),
    ("CXR3_IM-1-1", "AP"),
    ("CXR4_IM-1-1", "LARGE LATERAL"),
    ("CXR5_IM-1-1", ""),
    ("CXR6_IM-1-1", "RL"),
)


def write_dicom(folder, rows=DICOM_ROWS, columns="imageid,View Position"):
    table = "\n".join([columns, *(",".join(row) for row in rows)])
    (folder / views.DICOM).write_bytes(gzip.compress(table.encode()))


def test_without_tables_nothing_is_known(tmp_path):
    assert views.read_views(tmp_path) == {}


def test_dicom_headers_are_believed_where_they_are_right(tmp_path):
    write_dicom(tmp_path)
    lateral = dict.fromkeys(("CXR2_IM-1-2001", "CXR4_IM-1-1", "CXR6_IM-1-1"), "lateral")
    assert views.read_views(tmp_path) == lateral | {"CXR3_IM-1-1": "frontal"}


def test_the_table_of_projections_comes_first(tmp_path):
    write_dicom(tmp_path)
    rows = "3,3_IM-1-1.dcm.png,Lateral\n2,2_IM-1-1001.dcm.png,Frontal\n5,5_IM-1-1.dcm.png,Oblique\n"
    (tmp_path / views.PROJECTIONS).write_text("uid,filename,projection\n" + rows)
    known = views.read_views(tmp_path)
    assert (known["CXR3_IM-1-1"], known["CXR2_IM-1-1001"]) == ("lateral", "frontal")
    assert known["CXR2_IM-1-2001"] == "lateral"
    assert "CXR5_IM-1-1" not in known


def test_the_one_study_whose_ids_repeat_its_number():
    assert views.plain_id("CXR1_1_IM-0001-3001") == "CXR1_IM-0001-3001"
    assert views.plain_id("CXR12_1_IM-0001-3001") == "CXR12_1_IM-0001-3001"
    assert views.plain_id("CXR2_IM-0652-1001") == "CXR2_IM-0652-1001"


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b\x08", b"not gzip at all", gzip.compress(b"imageid,x\nCXR1,2\n", mtime=0)]
)
def test_bad_tables_of_headers_are_refused(tmp_path, content):
    (tmp_path / views.DICOM).write_bytes(content)
    if not content:
        assert views.read_views(tmp_path) == {}
        return
    with pytest.raises(InputError, match=r"nlmcxr_dicom_metadata\.csv\.gz"):
        views.read_views(tmp_path)


def test_the_real_headers_against_the_real_projections(shared):
    folder = shared / "data" / "iu_xray"
    headers, projections = views._read_dicom(folder / views.DICOM), views._read_projections(folder / views.PROJECTIONS)
    for view, wanted in (("lateral", (866, 867)), ("frontal", (410, 423))):
        compared = [image for image, said in headers.items() if said == view and image in projections]
        assert (sum(projections[image] == view for image in compared), len(compared)) == wanted
    assert len(projections) == 7466
