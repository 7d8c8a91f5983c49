"""Damage at random, to every kind of file that is read: a result or one clear line, and nothing written elsewhere.

Each damage is named by a number, so a failure can be repeated. 600 and more in all.
"""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data import images
from cxr_jax.data.notes import Notes
from cxr_jax.data.prepare import prepare
from cxr_jax.data.sources import openi_release as release
from cxr_jax.data.sources import pairs, r2gen
from cxr_jax.data.sources.annotation import r2gen_split
from cxr_jax.errors import InputError
from cxr_jax.phantom.release import report_xml, study_findings_and_report
from tests.data import settings
from tests.data.settings import make_data

pydicom = pytest.importorskip("pydicom")
DAMAGES = range(75)
TRICKS = (b"../../etc/passwd", b"/etc/passwd", b"..\\..\\x", b"\x00", b"CXR1_IM-0001-1001", b"%s%n", b"\xff\xfe\xfd")


def damaged(content: bytes, number: int) -> bytes:
    """Cut off, flipped bits, a hole, a doubled piece, another encoding, a tag or cell replaced by a trick."""
    rng = np.random.default_rng([17, number])
    data = bytearray(content)
    start = int(rng.integers(len(data)))
    end = min(len(data), start + int(rng.integers(1, 200)))
    match number % 7:
        case 0:
            return bytes(data[:start])
        case 1:
            for place in rng.integers(len(data), size=int(rng.integers(1, 30))):
                data[place] ^= 1 << int(rng.integers(8))
        case 2:
            del data[start:end]
        case 3:
            data[start:start] = data[start:end]
        case 4:
            return bytes(data).decode("latin-1").encode(str(rng.choice(["utf-16", "utf-7", "utf-32", "cp500"])))
        case 5:
            data[start:end] = TRICKS[int(rng.integers(len(TRICKS)))]
        case 6:
            for trick in TRICKS[:3]:
                data = bytearray(bytes(data).replace(b"CXR", trick, int(rng.integers(1, 4))))
            data[start:end] = bytes(rng.integers(0, 256, end - start, dtype=np.uint8))
    return bytes(data)


def try_reading(read) -> bool:
    """Whether it was read; a refusal must be one line."""
    complaint = None
    try:
        read()
    except InputError as error:
        complaint = str(error).strip()
    if complaint is None:
        return True
    assert "\n" not in complaint
    assert len(complaint) > 20
    return False


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    grey = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
    Image.fromarray(grey).save(buffer, form)
    return buffer.getvalue()


def dicom_file() -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 20, 30, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME1", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.WindowCenter, dataset.WindowWidth = 2000, 3000
    dataset.PixelData = np.random.default_rng(0).integers(0, 4096, 600).astype(np.uint16).tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def report() -> bytes:
    return report_xml(1, study_findings_and_report(0, 1)[1])


def packed() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for number in range(1, 6):
            content = report_xml(number, study_findings_and_report(0, number)[1])
            member = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def annotation() -> bytes:
    entries = {
        split: [
            {"id": f"CXR{i}_IM-0001", "report": f"Heart {i}.", "image_path": [f"CXR{i}_IM-0001/0.png"], "split": split}
            for i in range(start, start + 3)
        ]
        for start, split in ((0, "train"), (3, "val"), (6, "test"))
    }
    return json.dumps(entries, indent=1).encode()


@pytest.mark.parametrize("number", DAMAGES)
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.dcm"])
def test_images(tmp_path, name, number):
    content = {"x.png": picture("PNG"), "x.jpg": picture("JPEG"), "x.dcm": dicom_file()}[name]
    file = tmp_path / name
    file.write_bytes(content)
    assert try_reading(lambda: images.read(file))  # whole, it is read
    file.write_bytes(damaged(content, number))
    pictures = []
    if try_reading(lambda: pictures.append(images.read(file))):
        assert pictures[0].grey.dtype == np.uint8
        assert pictures[0].grey.ndim == 2


@pytest.mark.parametrize("number", DAMAGES)
def test_reports(tmp_path, number):
    folder = tmp_path / release.REPORTS
    folder.mkdir()
    (folder / "1.xml").write_bytes(damaged(report(), number))
    try_reading(lambda: list(release.read_studies(tmp_path)))


@pytest.mark.parametrize("number", DAMAGES)
def test_archives_of_reports(tmp_path, number):
    (tmp_path / "NLMCXR_reports.tgz").write_bytes(damaged(packed(), number))
    try_reading(lambda: list(release.read_studies(tmp_path)))
    assert [file.name for file in tmp_path.iterdir()] == ["NLMCXR_reports.tgz"]


@pytest.mark.parametrize("number", DAMAGES)
def test_lists_of_splits(tmp_path, number):
    (tmp_path / "annotation.json").write_bytes(damaged(annotation(), number))
    try_reading(lambda: r2gen_split(tmp_path / "annotation.json"))
    published = []
    if try_reading(lambda: published.extend(r2gen.read_annotation(tmp_path, Notes()))):
        for record in published:
            assert record.image.resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("number", DAMAGES)
def test_tables_of_pairs(tmp_path, number):
    table = "image,report,patient_id\n" + "".join(f'{i}.png,"Heart, and lungs {i}.",CXR{i}\n' for i in range(20))
    file = tmp_path / "pairs.csv"
    file.write_bytes(damaged(table.encode(), number))
    try_reading(lambda: settings.read(pairs, make_data(tmp_path / "cache", csv=file)))


@pytest.mark.parametrize("number", range(75, 150))
def test_a_refused_release_leaves_no_half_of_a_set(tmp_path, number):
    source, cache = tmp_path / "release", tmp_path / "cache"
    (source / release.REPORTS).mkdir(parents=True)
    (source / release.IMAGES).mkdir()
    for i in range(1, 11):
        study = report_xml(i, study_findings_and_report(0, i)[1])
        (source / release.REPORTS / f"{i}.xml").write_bytes(study)
        for view in ("1001", "2001"):
            (source / release.IMAGES / f"CXR{i}_IM-{i:04d}-{view}.png").write_bytes(picture("PNG"))
    files = sorted(source.rglob("*.*"))
    victim = files[number % len(files)]
    victim.write_bytes(damaged(victim.read_bytes(), number))
    before = {file: file.read_bytes() for file in source.rglob("*.*")}
    whole = try_reading(lambda: prepare(make_data(cache, dataset="openi", path=source, split="paper")))
    assert {file: file.read_bytes() for file in source.rglob("*.*")} == before
    assert {path.name for path in tmp_path.iterdir()} <= {"release", "cache"}
    assert bool(list(cache.rglob("dataset_info.json"))) == whole
