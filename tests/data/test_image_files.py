import pytest

from cxr_jax.data.image_files import ImageFiles, without_suffix
from cxr_jax.errors import InputError


@pytest.fixture
def files(tmp_path):
    for name in ("set/a.png", "set/x/b.jpg", "set/y/b.jpg", "set/y/c.dcm", "set/.hidden/d.png", "set/z/1.2.3.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return ImageFiles(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.png", "a.png"),
        ("set/a.png", "a.png"),  # from the folder above
        ("x/b.jpg", "x/b.jpg"),
        ("x\\b.jpg", "x/b.jpg"),
        ("c", "y/c.dcm"),
        ("c.dcm", "y/c.dcm"),
        ("1.2.3", "z/1.2.3.dcm"),
    ],
)
def test_found(files, name, found):
    assert files.find(name) == files.root / found


@pytest.mark.parametrize("name", ["d.png", "c.png", "other/c.dcm", "1.2", "nothing.png"])
def test_another_file_is_never_taken_for_one_that_is_missing(files, name):
    assert not files.find(name).exists()


def test_two_of_one_name_are_refused(files):
    with pytest.raises(InputError, match=r"holds 2 files b\.jpg .* by --images"):
        files.find("b.jpg")


def test_a_number_is_no_suffix():
    assert [without_suffix(name) for name in ("a/b.PNG", "1.2.3", "c.tar.gz")] == ["a/b", "1.2.3", "c.tar.gz"]
