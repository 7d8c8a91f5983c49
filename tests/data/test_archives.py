import gzip
import io
import tarfile
import time

import pytest

from cxr_jax.data import archives
from cxr_jax.errors import InputError


def write(file, *entries):
    """A .tgz of (name, content) or of ready TarInfos, which have no content."""
    with tarfile.open(file, "w:gz") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            member = tarfile.TarInfo(entry[0])
            member.size = len(entry[1])
            tar.addfile(member, io.BytesIO(entry[1]))
    return file


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def reports(file, max_bytes=1000):
    return dict(archives.members(file, archives.REPORT_NAME, max_bytes))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "reports.tgz"


def test_plain_files_are_read_by_their_base_names(file):
    write(file, special("ecgen-radiology", tarfile.DIRTYPE), ("ecgen-radiology/2.xml", b"two"), ("1.xml", b"one"))
    assert reports(file) == {"2.xml": b"two", "1.xml": b"one"}


def test_tricks_with_names_and_links_reach_nothing(file, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    write(
        file,
        ("../../etc/passwd", b"x"),
        ("../7.png", b"seven"),
        ("/tmp/8.png", b"eight"),
        ("..", b"x"),
        ("._9.png", b"x"),
        ("a/.png", b"x"),
        ("x.png\n", b"x"),
        special("link.png", tarfile.SYMTYPE, str(tmp_path / "secret.png")),
        special("hard.png", tarfile.LNKTYPE, "../7.png"),
        special("pipe.png", tarfile.FIFOTYPE),
        special("disk.png", tarfile.BLKTYPE),
        special("folder.png", tarfile.DIRTYPE),
    )
    folder = archives.unpack(file, archives.IMAGE_NAME, 100, 1000, tmp_path / "cache" / "images")
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == {"7.png": b"seven", "8.png": b"eight"}
    assert sorted(f.name for f in tmp_path.iterdir()) == ["cache", "reports.tgz", "secret.png"]
    assert [f.name for f in folder.parent.iterdir()] == ["images"]


def test_a_large_file_is_refused_by_its_header(file):
    huge = tarfile.TarInfo("1.xml")
    huge.size = 1 << 50
    file.write_bytes(gzip.compress(huge.tobuf()))
    with pytest.raises(InputError, match=r"reports\.tgz: '1\.xml' is said to have 1,125,899,906,842,624 bytes"):
        reports(file)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_bomb_in_a_header_is_refused_at_once(file, kind):
    header = tarfile.TarInfo("1.xml")
    header.type, header.size = kind, 1 << 32
    with gzip.open(file, "wb") as stream:
        stream.write(header.tobuf())
        stream.write(bytes(1 << 24))
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"header that is larger|1\.xml"):
        reports(file)
    assert time.perf_counter() - start < 2


def test_many_files_are_refused(file, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    write(file, *((f"{n}.xml", b"x") for n in range(4)))
    with pytest.raises(InputError, match="as file 4"):
        reports(file)


def test_more_than_the_disk_should_hold_is_refused_and_taken_away(file, tmp_path):
    write(file, ("1.png", b"x" * 90), ("2.png", b"x" * 90))
    with pytest.raises(InputError, match="unpacks to more than 100 bytes"):
        archives.unpack(file, archives.IMAGE_NAME, 100, 100, tmp_path / "cache" / "images")
    assert not list((tmp_path / "cache").iterdir())


def test_a_name_that_comes_twice_is_refused(file):
    write(file, ("a/1.xml", b"x"), ("b/1.xml", b"y"))
    with pytest.raises(InputError, match=r"holds 1\.xml twice"):
        reports(file)


def test_an_archive_of_something_else_is_refused(file):
    write(file, ("readme.txt", b"x"))
    with pytest.raises(InputError, match="holds no file called"):
        reports(file)


@pytest.mark.parametrize("keep", [0, 5, 40, 0.5, -9, -1])
def test_a_cut_archive_is_refused(file, keep):
    write(file, *((f"{n}.xml", str(n).encode() * 50) for n in range(50)))
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"reports\.tgz: damaged or cut short"):
        reports(file)


def test_a_changed_byte_is_found(file):
    write(file, ("1.xml", bytes(range(200))))
    content = bytearray(file.read_bytes())
    content[-8] ^= 1  # of the checksum
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        reports(file)


def test_unpacking_is_done_once_and_an_interrupted_one_is_not_taken_for_whole(file, tmp_path, monkeypatch):
    write(file, ("1.png", b"one"), ("2.png", b"two"))
    folder = tmp_path / "cache" / "images"
    arguments = (file, archives.IMAGE_NAME, 100, 1000, folder)
    whole = archives.members

    def interrupted(*args):
        yield next(whole(*args))
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "members", interrupted)
    with pytest.raises(KeyboardInterrupt):
        archives.unpack(*arguments)
    assert not list(folder.parent.iterdir())
    monkeypatch.undo()
    archives.unpack(*arguments)
    file.unlink()
    assert len(list(archives.unpack(*arguments).iterdir())) == 2
