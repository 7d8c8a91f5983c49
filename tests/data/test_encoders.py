import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.data import encoders, images
from cxr_jax.errors import InputError


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path in paths:
        path.write_bytes(images.encode_png(rng.integers(0, 255, (40, 50), np.uint8)))
    return paths


def encode(files, workers, form="png"):
    with encoders.encode_files(files, 20, form, workers) as encoded:
        return list(encoded)


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_what_is_encoded(files, form):
    image = images.shrink(images.grey_of(files[0]), 20)
    encoded = encoders.encode_file(files[0], 20, form)
    assert encoded.image == images.ENCODERS[form](image)
    assert encoded.thumbnail == images.thumbnail(images.decode(encoded.image))
    assert (encoded.height, encoded.width) == image.shape


def test_any_number_of_workers_gives_the_same_in_the_same_order(files):
    assert encode(files, 1) == encode(files, 2) == [encoders.encode_file(file, 20, "png") for file in files]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_said_of_an_image_comes_with_it(files, workers):
    files[3].write_bytes(images.encode_png(np.full((40, 50), 9, np.uint8)))
    said = [encoded.warnings for encoded in encode(files, workers)]
    assert said[3] == ("flat picture: nearly one grey (mean 9, standard deviation 0.0 of 255)",)
    assert not any(said[:3] + said[4:])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_image_is_named_where_it_stands(files, workers):
    files[7].write_bytes(b"no image")
    with encoders.encode_files(files, 20, "png", workers) as encoded:
        assert [next(encoded) for _ in range(7)] == encode(files[:7], 1)
        bad, *rest = encoded
    assert isinstance(bad, encoders.Unreadable)
    assert bad.reason.startswith(f"{files[7]}: not an image")
    assert rest == encode(files[8:], 1)


def test_an_error_of_the_program_is_not_taken_for_the_users(files):
    with pytest.raises(RuntimeError, match="KeyError: 'gif'"):
        encode(files, 2, "gif")


def test_a_killed_encoder_is_reported(files, monkeypatch):
    monkeypatch.setattr(encoders, "PROGRAM", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(InputError, match=r"0\.png: its encoder was killed"):
        encode(files, 2)


CALLER = """
import sys
from pathlib import Path
from cxr_jax.data.encoders import encode_files
files = [Path(sys.argv[1])] * 10**6
with encode_files(files, 20, "png", 2) as encoded:
    for image in encoded:
        print("one", flush=True)
"""


def children_of(pid):
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(stat.parent.name))
        except OSError:
            continue
    return children


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="children are counted in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_encoder_outlives_its_caller(files, number):
    with subprocess.Popen([sys.executable, "-c", CALLER, files[0]], stdout=subprocess.PIPE) as caller:
        caller.stdout.readline()
        workers = children_of(caller.pid)
        assert len(workers) == 2
        os.kill(caller.pid, number)
        caller.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_encoder_imports_neither_jax_nor_tfds(files):
    code = (
        "import sys; from cxr_jax.data import encoders\n"
        "print([m for m in ('jax', 'tensorflow_datasets', 'grain', 'pyarrow') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
