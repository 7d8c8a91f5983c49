import pytest

from cxr_jax.data import records


@pytest.fixture
def two_files(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"123")
        (tmp_path / folder / "b.png").write_bytes(b"45")
    return sorted((tmp_path / "one").iterdir()), sorted((tmp_path / "two").iterdir())


def test_fingerprint_ignores_the_folder_and_the_order(two_files):
    one, two = two_files
    assert records.fingerprint("x", 1, files=one) == records.fingerprint("x", 1, files=reversed(two))


def test_fingerprint_follows_settings_names_and_sizes(two_files):
    one, two = two_files
    first = records.fingerprint("x", 1, files=one)
    assert first != records.fingerprint("x", 2, files=one)
    assert first != records.fingerprint("x1", files=one)
    assert first != records.fingerprint("x", 1, files=one[:1])
    assert first != records.fingerprint("x", 1, files=[*one[:1], one[1].rename(one[1].with_name("c.png"))])
    two[0].write_bytes(b"1234")
    assert first != records.fingerprint("x", 1, files=two)
