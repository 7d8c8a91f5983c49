import os
import shutil

import pytest

from cxr_jax.data import records


@pytest.fixture
def two_files(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"123")
        (tmp_path / folder / "b.png").write_bytes(b"45")
    for name in ("a.png", "b.png"):
        shutil.copystat(tmp_path / "one" / name, tmp_path / "two" / name)
    return sorted((tmp_path / "one").iterdir()), sorted((tmp_path / "two").iterdir())


def test_fingerprint_ignores_the_folder_and_the_order(two_files):
    one, two = two_files
    assert records.fingerprint("x", 1, files=one) == records.fingerprint("x", 1, files=reversed(two))


def test_fingerprint_follows_a_touch_of_a_nanosecond_and_not_a_copy_that_preserves_it(two_files):
    one, two = two_files
    first = records.fingerprint(files=one)
    assert first == records.fingerprint(files=two)
    changed = two[0].stat().st_mtime_ns + 1
    os.utime(two[0], ns=(changed, changed))
    assert first != records.fingerprint(files=two)
    for by in ("content", "size"):
        assert records.fingerprint(files=one, by=by) == records.fingerprint(files=two, by=by)


def test_fingerprint_by_content_sees_what_size_and_time_do_not(two_files):
    one, two = two_files
    two[0].write_bytes(b"321")
    shutil.copystat(one[0], two[0])
    for by, same in (("mtime", True), ("size", True), ("content", False)):
        assert (records.fingerprint(files=one, by=by) == records.fingerprint(files=two, by=by)) == same


def test_fingerprint_follows_settings_names_and_sizes(two_files):
    one, two = two_files
    first = records.fingerprint("x", 1, files=one)
    assert first != records.fingerprint("x", 2, files=one)
    assert first != records.fingerprint("x1", files=one)
    assert first != records.fingerprint("x", 1, files=one[:1])
    assert first != records.fingerprint("x", 1, files=[*one[:1], one[1].rename(one[1].with_name("c.png"))])
    two[0].write_bytes(b"1234")
    assert first != records.fingerprint("x", 1, files=two)
