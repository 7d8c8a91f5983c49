"""Decoders are replaced when a file takes one down or is too slow, and the next upload is read all the same."""

import asyncio
import io
import os
import signal
import subprocess

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data import children, images
from cxr_jax.server import worker
from cxr_jax.server.decoding import Decoders
from cxr_jax.server.limits import MIB, Limits, RefusedError
from tests.data.test_grey import a_radiograph
from tests.server.standin import SIDE, png

# As the worker, but what is uploaded says what it does.
ODD = (
    "import os, time\n"
    "from cxr_jax.server import worker\n"
    "def answer(kind, data, side, answer=worker.answer):\n"
    "    if data == b'crash': os.abort()\n"
    "    if data == b'sleep': time.sleep(60)\n"
    "    if data == b'noise': os.write(worker_out, b'\\xff' * 100)\n"
    "    if data == b'short': return {'warnings': []}, b'xx'\n"
    "    return answer(kind, data, side)\n"
    "worker.answer = answer\n"
    "dup = os.dup\n"
    "def remember(fd):\n"
    "    global worker_out\n"
    "    worker_out = dup(fd)\n"
    "    return worker_out\n"
    "os.dup = remember\n"
)


@pytest.fixture(scope="module")
def decoders():
    decoders = Decoders(1, SIDE, Limits())
    yield decoders
    started = [decoder.process for decoder in decoders._all]
    decoders.close()
    assert [process.returncode for process in started] == [-signal.SIGKILL]


@pytest.fixture
def odd(monkeypatch):
    monkeypatch.setattr(worker, "PROGRAM", ODD + worker.PROGRAM)
    decoders = Decoders(1, SIDE, Limits(decode_seconds=1.5))
    yield decoders
    decoders.close()


def square(decoders, data):
    return asyncio.run(decoders.square(data))


def test_the_square_is_what_the_model_gets_elsewhere(decoders):
    data = images.encode_png((a_radiograph(60, 40) >> 4).astype(np.uint8))
    pixels, warnings = square(decoders, data)
    assert warnings == []
    np.testing.assert_array_equal(pixels, images.fit_square(images.decode(data), SIDE))


def test_the_picture_is_shown_whole_and_not_too_large(decoders):
    pixels = np.tile(np.arange(256, dtype=np.uint8), (1500, 16))
    shown = images.decode(asyncio.run(decoders.picture(images.encode_png(pixels))).pixels)
    assert shown.shape == (750, 2048)
    small = asyncio.run(decoders.picture(images.encode_png(pixels[:30, :40]))).pixels
    np.testing.assert_array_equal(images.decode(small), pixels[:30, :40])


@pytest.mark.parametrize(("data", "status"), [(b"crash", 422), (b"sleep", 408), (b"noise", 422), (b"short", 422)])
def test_a_file_takes_down_its_decoder_only(odd, data, status):
    assert square(odd, png())[0].shape == (SIDE, SIDE)
    with pytest.raises(RefusedError) as refused:
        square(odd, data)
    assert refused.value.status == status
    assert "\n" not in refused.value.message
    assert square(odd, png())[0].shape == (SIDE, SIDE)


def test_one_that_is_killed_between_two_uploads_is_replaced(odd):
    square(odd, png())
    (pid,) = {decoder.process.pid for decoder in odd._all}
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert square(odd, png())[0].shape == (SIDE, SIDE)
    assert {decoder.process.pid for decoder in odd._all} != {pid}


def test_one_that_asks_for_more_memory_than_it_may_have():
    decoders = Decoders(1, SIDE, Limits(decoder_memory=400 * MIB))
    try:
        file = io.BytesIO()
        Image.fromarray(np.tile(np.arange(4096, dtype=np.uint16), (6000, 1))).save(file, "PNG", compress_level=1)
        with pytest.raises(RefusedError, match="needs more memory") as refused:
            square(decoders, file.getvalue())
        assert refused.value.status == 422
        assert square(decoders, png())[0].shape == (SIDE, SIDE)
    finally:
        decoders.close()


def test_it_ends_with_its_server():
    child = children.start(worker.PROGRAM, str(SIDE), str(2**32), silent=True)
    assert child.stdout.read(1) == worker.READY
    child.send_signal(signal.SIGTERM)  # the server's to act upon
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    child.stdin.close()
    assert child.wait(20) == 0
    child.stdout.close()


def test_closing_refuses_what_is_being_decoded_and_drops_what_waits(odd):
    async def run():
        asking = [asyncio.create_task(odd.square(b"sleep")) for _ in range(5)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(asyncio.to_thread(odd.close), 20)
        return await asyncio.gather(*asking, return_exceptions=True)

    first, *others = asyncio.run(run())
    assert isinstance(first, RefusedError)
    assert all(isinstance(error, RefusedError | asyncio.CancelledError) for error in others)


def test_a_decoder_that_cannot_start_is_no_fault_of_the_image(monkeypatch):
    monkeypatch.setattr(worker, "PROGRAM", "raise SystemExit('no such module')")
    decoders = Decoders(1, SIDE, Limits())
    try:
        for _ in range(2):
            with pytest.raises(RefusedError) as refused:
                square(decoders, png())
            assert refused.value.status == 503
    finally:
        decoders.close()


def test_where_no_process_can_be_started_for_a_while_it_goes_on_afterwards(monkeypatch):
    decoders, start = Decoders(2, SIDE, Limits()), children.start
    try:
        asyncio.run(decoders.square(png()))

        def none(*_, **__):
            raise BlockingIOError(11, "Resource temporarily unavailable")

        monkeypatch.setattr(children, "start", none)
        for decoder in decoders._all:
            decoder.process.kill()
            decoder.process.wait()
        for _ in range(3):  # more than there are
            with pytest.raises(RefusedError, match="no decoder could be started") as error:
                asyncio.run(asyncio.wait_for(decoders.square(png()), 10))
            assert error.value.status == 503
        monkeypatch.setattr(children, "start", start)
        for _ in range(3):
            assert asyncio.run(asyncio.wait_for(decoders.square(png()), 30))[0].shape == (SIDE, SIDE)
    finally:
        decoders.close()
