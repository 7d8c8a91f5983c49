"""The command line that prepares data: killed, terminated, raced, refused."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cxr_jax.data import images, shards
from tests.data.test_encoders import children_of

IMAGES = 200  # four shards


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    lines = ["image,report,split"]
    for number in range(IMAGES):
        (folder / f"{number}.png").write_bytes(images.encode_png(rng.integers(0, 255, (100, 110), np.uint8)))
        lines.append(f"{number}.png,Report {number}.,{'val' if number % 10 == 0 else 'train'}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder / "pairs.csv"


def command(table, cache, *arguments):
    keys = {"csv": table, "cache": cache, "stored_size": 80}
    changes = [f"--config.data.{key}={value}" for key, value in keys.items()]
    return [sys.executable, "-m", "cxr_jax.prepare", "--config", "configs/pairs.py", *changes, *arguments]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)


def start(*arguments):
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def contents(cache):
    """Everything below the cache, by name: nothing but the set itself is left there."""
    return {path.relative_to(cache): path.read_bytes() for path in sorted(cache.rglob("*")) if path.is_file()}


def finished(cache):
    return [path for path in cache.glob("unfinished/*/*") if not path.name.startswith(shards.PART)]


def wait_for_shards(process, cache, count):
    while len(finished(cache)) < count and process.poll() is None:
        time.sleep(0.002)


@pytest.fixture(scope="module")
def uninterrupted(table, tmp_path_factory):
    cache = tmp_path_factory.mktemp("uninterrupted")
    result = run(table, cache, "--workers", "1", "--verify")
    assert result.returncode == 0, result.stderr
    assert f"{IMAGES} images verified" in result.stdout
    (folder,) = cache.glob("records/*/*")
    assert result.stdout.endswith(f"train 180, val 20 images, 3 MB, prepared: {folder}\n")
    assert " images/s, 1 at a time" in result.stdout
    return contents(cache)


def kill_and_finish(table, cache, moments):
    """Kills at each (number of finished shards, seconds after that); what the last start says."""
    for count, delay in moments:
        process = start(table, cache, "--workers", "2")
        wait_for_shards(process, cache, count)
        time.sleep(delay)
        workers = children_of(process.pid)
        process.kill()
        process.communicate()
        assert not any(cache.glob("records/*/*/*.incomplete*"))
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline, "an encoder outlived its caller"
            time.sleep(0.02)
    result = run(table, cache, "--workers", "2")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_killed_and_started_again_it_ends_as_if_never_killed(table, tmp_path, uninterrupted):
    said = kill_and_finish(table, tmp_path, [(0, 0.0), (3, 0.0)])
    assert contents(tmp_path) == uninterrupted
    assert f"{IMAGES} images in" not in said
    assert " were there" in said or "images/s" not in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_random_moments_it_ends_as_if_never_killed(table, tmp_path, uninterrupted, seed):
    generator = random.Random(seed)
    moments = [(generator.randrange(5), generator.uniform(0, 0.3)) for _ in range(3)]
    kill_and_finish(table, tmp_path, moments)
    assert contents(tmp_path) == uninterrupted


def test_of_two_at_once_one_prepares_and_the_other_waits(table, tmp_path, uninterrupted):
    processes = [start(table, tmp_path, "--workers", "1") for _ in range(2)]
    results = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    assert [code for *_, code in results] == [0, 0], results
    assert contents(tmp_path) == uninterrupted
    assert sum("images/s" in out for out, *_ in results) == 1
    waited = "".join(err for _, err, _ in results).splitlines()
    assert all("is preparing this data set; waiting for it" in line for line in waited)
    assert len(waited) <= 1  # none, where one was through before the other came


def test_sigterm_ends_it_at_once_as_worth_requeueing(table, tmp_path, uninterrupted):
    process = start(table, tmp_path, "--workers", "2")
    wait_for_shards(process, tmp_path, 1)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    assert process.returncode == 75
    assert err == "preempted: SIGTERM while preparing data; the same command goes on from there\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert run(table, tmp_path).returncode == 0
    assert contents(tmp_path) == uninterrupted


def test_a_bad_image_is_one_line_and_what_is_finished_stays(table, tmp_path, uninterrupted):
    bad = table.parent / "199.png"  # of the last shard of train
    whole, stat = bad.read_bytes(), bad.stat()
    try:
        bad.write_bytes(whole[:99])
        result = run(table, tmp_path, "--workers", "2")
    finally:
        bad.write_bytes(whole)
        os.utime(bad, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert f"{bad}: damaged image" in line
    assert len(finished(tmp_path)) == 2
    result = run(table, tmp_path, "--workers", "2")
    assert "128 were there" in result.stdout
    assert contents(tmp_path) == uninterrupted


def test_a_full_disk_is_one_line(table, tmp_path, uninterrupted):
    limited = ["bash", "-c", 'ulimit -f 600; exec "$@"', "bash", *command(table, tmp_path, "--workers", "1")]
    result = subprocess.run(limited, capture_output=True, text=True)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "cannot be written" in line
    assert line.endswith("make room, or change data.cache")
    assert not list(tmp_path.glob("records/*/*"))
    assert run(table, tmp_path).returncode == 0
    assert contents(tmp_path) == uninterrupted


def test_workers_must_be_some(table, tmp_path):
    result = run(table, tmp_path, "--workers", "0")
    assert (result.returncode, result.stderr) == (2, "error: --workers 0: give at least 1\n")


def test_it_imports_no_accelerator():
    code = "import sys, cxr_jax.prepare; print([m for m in ('jax', 'grain', 'tensorflow', 'flax') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
