from PIL import Image

from cxr_jax.data import folders
from tests.data.test_dicom import RAMP, saved


def test_images_are_found_however_deep_and_whatever_they_are_called(tmp_path):
    for folder in ("a/b/c", ".hidden", "d"):
        (tmp_path / folder).mkdir(parents=True)
    saved(tmp_path, RAMP, "a/b/c/IM000001", bits=12)
    saved(tmp_path, RAMP, "a/b/1.2.840.113619.2.55", bits=12)
    bare = saved(tmp_path, RAMP, "a/b/bare", bits=12).read_bytes()
    (tmp_path / "a/b/bare").write_bytes(bare[bare.index(b"\x08\0\x16\0") :])
    saved(tmp_path, RAMP, "d/X.DCM", bits=12)
    for name, form in (("d/png", "PNG"), ("d/jpg", "JPEG"), ("d/tif", "TIFF"), ("d/webp", "WEBP"), ("d/y.JPG", "JPEG")):
        Image.new("L", (9, 9), 50).save(tmp_path / name, form)
    found = [str(file.relative_to(tmp_path)) for file in folders.image_files(tmp_path)]
    assert found == [
        "a/b/1.2.840.113619.2.55", "a/b/bare", "a/b/c/IM000001", "d/X.DCM", "d/jpg", "d/png", "d/tif", "d/webp",
        "d/y.JPG",
    ]  # fmt: skip


def test_what_is_no_image_is_passed_over(tmp_path):
    (tmp_path / ".hidden").mkdir()
    Image.new("L", (9, 9), 50).save(tmp_path / ".hidden" / "x.png")
    Image.new("L", (9, 9), 50).save(tmp_path / "._x.png")
    Image.new("L", (9, 9), 50).save(tmp_path / "picture.backup", "PNG")
    saved(tmp_path, RAMP, "DICOMDIR", bits=12)
    (tmp_path / "README").write_text("no image")
    (tmp_path / "empty").touch()
    (tmp_path / "table.csv").write_text("image,report")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert folders.image_files(tmp_path) == []
