"""What is said of an upload holds nothing of a DICOM file's header, whichever value is odd."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from cxr_jax.server.refusals import is_raster, refusal, said_of
from cxr_jax.server.worker import PICTURE, SQUARE, answer
from tests.data.test_dicom import a_dataset, saved
from tests.data.test_grey import a_radiograph
from tests.server.standin import png

SECRET = "SECRET"
VALUES = a_radiograph(40, 32)


def said(folder, **more):
    """All that a client is told of a DICOM file."""
    saved(folder, VALUES, bits=12, **more)
    header, _ = answer(SQUARE, (folder / "image.dcm").read_bytes(), 32)
    assert header == answer(PICTURE, (folder / "image.dcm").read_bytes(), 32)[0]
    return header


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        (dict(WindowCenter=1234.5, WindowWidth=0), "window left out, by its header"),
        (dict(RescaleSlope=0, RescaleIntercept=98765), "rescale left out, by its header"),
        (dict(PixelAspectRatio=[98765, 1]), "pixel aspect ratio left out, by its header"),
        (dict(WindowCenter=2000, WindowWidth=4000, VOILUTFunction=SECRET), "VOI LUT function left out, by its header"),
        (dict(kind=SECRET), "photometric interpretation taken for MONOCHROME2, by its header"),
        (dict(PresentationLUTShape="INVERSE"), "presentation LUT left out, by its header"),
    ],
)
def test_a_warning_names_its_kind_only(tmp_path, more, warning):
    header = said(tmp_path, PatientName=f"{SECRET}^A", PatientID="98765", StudyDate="19991231", **more)
    assert warning in header["warnings"]
    for value in (SECRET, "1234", "98765", "1999"):
        assert value not in str(header)


def test_what_pixels_show_is_told(tmp_path):
    saved(tmp_path, np.full((40, 32), 7, np.uint16), bits=12)
    header, _ = answer(SQUARE, (tmp_path / "image.dcm").read_bytes(), 32)
    assert header["warnings"][0].startswith("flat picture: nearly one grey (mean")


def broken(folder, change):
    dataset = a_dataset(VALUES, bits=12, PatientName=SECRET, Modality=SECRET)
    change(dataset)
    saved(folder, VALUES, dataset=dataset)
    return answer(SQUARE, (folder / "image.dcm").read_bytes(), 32)[0]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda d: setattr(d, "Rows", 65535) or setattr(d, "Columns", 65535), 413),
        (lambda d: setattr(d, "SOPClassUID", "1.2.98765"), 200),
        (lambda d: setattr(d, "NumberOfFrames", 98765), 422),
        (lambda d: setattr(d, "SamplesPerPixel", 2), 415),
        (lambda d: setattr(d, "BitsStored", 63), 422),
        (lambda d: delattr(d, "Rows"), 422),
    ],
)
def test_a_refusal_says_what_kind_of_fault_it_is(tmp_path, change, status):
    header = broken(tmp_path, change)
    assert header.get("status", 200) == status
    for value in (SECRET, "98765", "65535", "63", str(tmp_path)):
        assert value not in str(header)


def test_objects_without_a_picture(tmp_path):
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3"
    dataset.Modality = SECRET
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    header, _ = answer(SQUARE, (tmp_path / "sr.dcm").read_bytes(), 32)
    assert header["status"] == 422
    assert SECRET not in header["error"]
    assert "holds no image" in header["error"]


@pytest.mark.parametrize(
    "message",
    [
        "holds no image (SECRET; SECRET); leave it out",
        "damaged DICOM file (Rows is SECRET); export it anew",
        "SECRET is not read; export it uncompressed or as JPEG 2000",
        "SECRET needs a decoder; pip",
        "claims SECRET x SECRET pixels, more than 5; replace it",
        "something that nobody has thought of: SECRET",
        "",
    ],
)
def test_no_message_is_passed_on_by_its_words(message):
    status, line = refusal(f"/proc/self/fd/5: {message}", "/proc/self/fd/5", True)
    assert status in (413, 415, 422)
    assert SECRET not in line
    assert line


def test_no_warning_is_passed_on_by_its_words():
    given = [
        f"window left out: centre {SECRET}, width 0; the range",
        f"window left out: {SECRET} leaves nearly one grey",
    ]
    assert said_of(given, True) == ["window left out, by its header"] * 2
    assert said_of(["alpha left out: 3 % opaque"], False) == ["alpha left out: 3 % opaque"]


def test_other_files_are_told_more_but_no_path():
    assert refusal("/proc/self/fd/5: damaged image (at /proc/self/fd/5); x", "/proc/self/fd/5", False) == (
        422, "damaged image (at the file); x"
    )  # fmt: skip


def test_only_what_is_named_is_given_to_pillow():
    assert is_raster(png())
    assert is_raster(b"\xff\xd8\xff\xe0")
    assert is_raster(b"RIFF\0\0\0\0WEBPVP8 ")
    assert not is_raster(b"RIFF\0\0\0\0AVI LIST")
    for head in (b"", b"%!PS-Adobe", b"GIF89a", b"\0\0\x01\0", b"8BPS", b"\x01\0\0\0"):
        assert not is_raster(head)


def test_a_decoder_that_is_missing_is_no_bug(tmp_path):
    saved(tmp_path, VALUES, syntax=JPEG2000Lossless, stream=b"\xff\x4f\xff\x51" + bytes(60) + b"\xff\xd9", bits=12)
    header, _ = answer(SQUARE, (tmp_path / "image.dcm").read_bytes(), 32)
    assert header["status"] == 422
    assert header["error"] == "damaged DICOM file; export it anew"
