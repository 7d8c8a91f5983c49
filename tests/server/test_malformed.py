"""Malformed uploads, good ones in between: each is answered in one line, and the server stays as large as it was."""

import threading
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian

from cxr_jax.data import images
from tests.data.test_dicom import saved as dicom_file
from tests.data.test_dicom import table
from tests.data.test_grey import a_radiograph
from tests.server.standin import form, png, served

SECRET = "SECRET"


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wholes")
    values = a_radiograph(40, 32)
    private = dict(PatientName=SECRET, PatientID=SECRET, Modality=SECRET, bits=12)
    dicom_file(folder, values, "a.dcm", WindowCenter=4000, WindowWidth=8000, **private)
    dicom_file(folder, values, "b.dcm", ExplicitVRBigEndian, VOILUTSequence=table(range(4096), 0, 12), **private)
    eight = (values >> 4).astype(np.uint8)
    return [*(file.read_bytes() for file in folder.iterdir()), images.encode_png(eight), images.encode_jpeg(eight)]


def malformed(rng, wholes):
    """A form whose image, or which itself, is damaged somehow."""
    data = bytearray(wholes[rng.integers(len(wholes))])
    kind = rng.integers(6)
    if kind == 0:
        data = data[: rng.integers(len(data))]
    elif kind == 1:
        for place in rng.integers(0, len(data), rng.integers(1, 60)):
            data[place] = rng.integers(256)
    elif kind == 2:
        data = bytearray(rng.bytes(rng.integers(1, 3000)))
    elif kind == 3:
        place = int(rng.integers(len(data)))
        data = data[:place] + rng.bytes(50) + data[place:]
    elif kind == 4:
        body, content_type = form(bytes(data))
        return body[: rng.integers(len(body))], content_type
    else:
        data = data[int(rng.integers(1, 300)) :]
    return form(bytes(data))


@pytest.mark.parametrize("number", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_each_is_one_line_while_good_ones_are_answered(wholes, number):
    rng, good, stop = np.random.default_rng(0), [], threading.Event()
    with served() as client:
        right = client.upload(png(0)).json

        def go_on():
            while not stop.is_set():
                good.append(client.upload(png(0)).json == right)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            statuses = []
            for _ in range(number):
                body, kind = malformed(rng, wholes)
                reply = client.ask("POST", "/api/report", body, {"Content-Type": kind})
                statuses.append(reply.status)
                assert SECRET not in reply.body.decode()
                assert reply.status == 200 or reply.error  # what was changed may do no harm
        finally:
            stop.set()
            thread.join()
    assert set(statuses) <= {200, 400, 408, 413, 415, 422}
    assert sum(status >= 400 for status in statuses) > number / 2
    assert all(good)
    assert len(good) > number / 10


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024


@pytest.mark.slow
def test_memory_does_not_grow():
    with served() as client:
        seen = []
        for _ in range(4):
            for number in range(500):
                assert client.upload(png(number % 256, 200)).status == 200
            seen.append(resident())
    assert seen[-1] - seen[0] < 20  # MiB
