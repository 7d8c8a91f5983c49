"""The command: what it refuses before a model is loaded, and a server's life from its start to a signal."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cxr_jax
from cxr_jax import serve
from cxr_jax.errors import InputError
from tests.server.standin import Client, form, png

ROOT = Path(__file__).parents[1]
TOKEN = "a-token-of-some-length"
# The command, with a model that needs no run.
PROGRAM = (
    "import cxr_jax, sys\n"
    "from cxr_jax import serve\n"
    "from cxr_jax.errors import run_command\n"
    "from tests.server.standin import Brightness\n"
    "cxr_jax.load = lambda workdir: Brightness()\n"
    "serve.parallel.cache_compilations = lambda folder: None\n"
    "run_command(lambda: serve.main(sys.argv[1:]))"
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--workdir"),
        (["--workdir", "x", "--port", "many"], "--port"),
        (["--workdir", "x", "--port", "70000"], "--port 70000: must be from 0"),
        (["--workdir", "x", "--port", "-1"], "--port -1"),
        (["--workdir", "x", "--host", "0.0.0.0"], "--host 0.0.0.0: others can reach it; give a --token"),
        (["--workdir", "x", "--host", "", "--port", "0"], "--host"),
        (["--workdir", "x", "--host", "::"], "give a --token"),
        (["--workdir", "x", "--host", "192.0.2.1", "--token", TOKEN, "--port", "0"], "cannot listen there"),
        (["--workdir", "x", "--token", "short"], "--token: must be 16"),
        (["--workdir", "x", "--token", "with blanks in it all over"], "--token"),
        (["--workdir", "x", "--token", "ü" * 20], "--token"),
    ],
)
def test_bad_arguments_are_found_before_the_model_is_loaded(monkeypatch, arguments, says):
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: pytest.fail("loaded"))
    with pytest.raises(InputError, match=re.escape(says)) as error:
        serve.main(arguments)
    assert "\n" not in str(error.value)


def test_a_port_that_is_taken(monkeypatch):
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: pytest.fail("loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: cannot listen there"):
            serve.main(["--workdir", "x", "--port", str(port)])


def test_small_answers_are_not_held_back():
    """asyncio sends without delay (TCP_NODELAY) only where a socket names its protocol; else answers wait 40 ms."""
    with serve._bound("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cxr_jax.server.app", None)
    for name in ("uvicorn", "starlette", "starlette.applications"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "cxr_jax.server.app")
    with pytest.raises(InputError, match=r'serving needs (uvicorn|starlette).*; pip install "cxr_jax\[serve\]"'):
        serve.main(["--workdir", "x"])


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        serve.main(["--workdir", str(tmp_path / "nowhere"), "--port", "0"])


@pytest.fixture
def started():
    """Starts the command: its process, and the port that it names."""
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--workdir", "run", "--port", "0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        running.append(process)
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert "trained on phantom (drawn); not a medical device" in lines[0]
        return process, int(re.search(r" at http://\S+:(\d+) ", lines[1])[1])

    yield start
    for process in running:
        process.kill()
        process.communicate()


def decoders_of(process):
    return [pid for file in Path(f"/proc/{process.pid}/task").glob("*/children") for pid in file.read_text().split()]


def test_a_server_s_life(started, tmp_path, monkeypatch):
    """Others need the token; nothing is printed or kept; SIGTERM ends it once what was asked is answered."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process, port = started("--host", "0.0.0.0", "--token", TOKEN)
    client, known = Client(port), {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/about").status == 401
    assert client.get("/api/about", **known).status == 200
    for data in (b"no image", png()[:70], bytes(128) + b"DICM" + b"SECRET" * 50, bytes(3 * 2**20)):
        body, kind = form(data, filename="SECRET.png")
        assert client.ask("POST", "/api/report", body, {"Content-Type": kind, **known}).status in (415, 422)
    client.get("/api/study?study_id=SECRET", **known)
    client.get("/SECRET", Host="SECRET")
    reply = client.upload(png(0), **known).json
    assert reply["neighbours"][0]["study_id"] == "s1"
    assert stopped(process, port, signal.SIGTERM) == reply["neighbours"]
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_ctrl_c_ends_it_likewise(started):
    process, port = started()
    assert stopped(process, port, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def stopped(process, port, number):
    """Sends a signal while a request is on its way, its body still to come; the neighbours that it is answered with."""
    body, kind = form(png(0))
    with socket.create_connection(("127.0.0.1", port)) as slow:
        head = (
            f"POST /api/report HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {kind}\r\n"
        )
        slow.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        time.sleep(0.3)
        assert decoders_of(process)
        os.killpg(process.pid, number)  # as a terminal does; the decoders are not to end first
        time.sleep(0.3)
        slow.sendall(body[10:])
        answer = b""
        while part := slow.recv(65536):
            answer += part
    assert b" 200 OK" in answer
    return json.loads(answer.partition(b"\r\n\r\n")[2])["neighbours"]
