"""Each encoding is told by its bytes; what could be damaged, or of another alphabet, is not guessed at."""

import gzip

import pytest

from cxr_jax.encodings import decode, lines_of, read_text

TEXT = "image,report\n1.png,Größe und Herz \u2013 unauffällig “x”\n"


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", b""), ("utf-8-sig", b""), ("utf-16", b""), ("utf-32", b""), ("utf-16-le", b""), ("utf-16-be", b""),
     ("utf-16-be", b"\xfe\xff"), ("utf-32-be", b"\0\0\xfe\xff"), ("cp1252", b"")],
)  # fmt: skip
def test_text_is_read_in_its_encoding(encoding, mark):
    text, named = decode(mark + TEXT.encode(encoding), western=encoding == "cp1252")
    assert text == TEXT
    assert named.replace("-", "").startswith(encoding.replace("-", "")[:5])


def test_ascii_is_utf_8():
    assert decode(b"image,report\n") == ("image,report\n", "utf-8")
    assert decode(b"") == ("", "utf-8")


@pytest.mark.parametrize(
    "content",
    [
        "image,report\n1.png,Größe é è ü ö\n".encode().replace(b"\xc3\xb6", b"\xb6", 1),  # one byte of UTF-8 is lost
        "Изображение: лёгкие и плевра\n".encode("cp1251"),
        "εικόνα,έκθεση\n".encode("iso8859-7"),
        b"a,b\n\xff,2\n",
        b"a,b\nna\xefve\x01,2\n",
        b"a,b\nna\xefve \x81,2\n",
        "a,b\n1,2\n".encode("utf-16")[:-1],
    ],
)
def test_what_fits_none_for_sure_is_refused(content):
    with pytest.raises(UnicodeError):
        decode(content, western=True)


def test_packed_by_its_name(tmp_path):
    (tmp_path / "a.csv.GZ").write_bytes(gzip.compress(TEXT.encode("cp1252")))
    assert read_text(tmp_path / "a.csv.GZ", western=True) == (TEXT, "cp1252")


def test_cp1252_is_taken_only_where_it_is_wanted():
    with pytest.raises(UnicodeDecodeError):
        decode(TEXT.encode("cp1252"))


def test_lines():
    assert lines_of("a\r\nb\rc\n\nd\x0ce\u2028f\n") == ["a", "b", "c", "", "d\x0ce\u2028f"]
    assert lines_of("") == []
    assert lines_of("\n") == [""]
