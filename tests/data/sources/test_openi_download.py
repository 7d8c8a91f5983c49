"""Against a server of the test's own on this machine; what Open-i's server does has not been tried."""

import functools
import http.server
import tarfile
import threading

import pytest
from urllib3.util.retry import Retry

from cxr_jax.data import pipeline
from cxr_jax.data.sources import openi_download as download
from cxr_jax.errors import InputError
from cxr_jax.phantom import release as phantom
from tests.tiny import tiny_config


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, keeps what is requested, and cuts the files in `CUT` short."""

    requests: list[str]
    cut: set[str]

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.requests.append(self.path)
        super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.path in self.cut else content)


@pytest.fixture
def server(tmp_path, monkeypatch):
    handler = type("Handler", (Server,), {"requests": [], "cut": set()})
    address = ("127.0.0.1", 0)
    with http.server.ThreadingHTTPServer(address, functools.partial(handler, directory=tmp_path / "served")) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(download, "COLLECTIONS", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield handler
        running.shutdown()


@pytest.fixture
def served(tmp_path):
    """The two archives of a drawn release, as Open-i packs them."""
    drawn = phantom.write_release(tmp_path / "drawn", 10, 32, seed=0, workers=1)
    (tmp_path / "served").mkdir()
    for folder, archive in download.ARCHIVES.items():
        with tarfile.open(tmp_path / "served" / archive, "w:gz") as tar:
            tar.add(drawn / folder, folder)
    return tmp_path / "served"


def load(folder, tmp_path):
    changes = f"data.dataset=openi data.path={folder} data.download=true data.cache={tmp_path / 'cache'}"
    return pipeline.load_splits(tiny_config(*changes.split()))[0]


def test_the_release_is_fetched_read_and_not_fetched_again(served, server, tmp_path):
    folder = tmp_path / "new" / "release"
    assert sum(map(len, load(folder, tmp_path).values())) == 20
    assert sorted(file.name for file in folder.iterdir()) == sorted(download.ARCHIVES.values())
    assert server.requests == [f"/{archive}" for archive in download.ARCHIVES.values()]
    load(folder, tmp_path)
    assert len(server.requests) == 2


def test_what_is_here_already_is_kept(served, server, tmp_path):
    folder = tmp_path / "release"
    (folder / "NLMCXR_png").mkdir(parents=True)
    download.fetch_release(folder)
    assert server.requests == ["/NLMCXR_reports.tgz"]


@pytest.mark.parametrize("fault", ["missing", "cut short", "no network"])
def test_a_download_that_fails_is_one_line_and_leaves_nothing(served, server, tmp_path, monkeypatch, fault):
    if fault == "missing":
        (served / "NLMCXR_reports.tgz").unlink()
    elif fault == "cut short":
        server.cut.add("/NLMCXR_reports.tgz")
    else:
        monkeypatch.setattr(download, "COLLECTIONS", "http://127.0.0.1:9")
        monkeypatch.setattr(Retry, "sleep", lambda *_: None)  # TFDS tries for minutes
    with pytest.raises(InputError, match=r"NLMCXR_reports\.tgz: cannot be downloaded \(.+\); fetch it") as told:
        download.fetch_release(tmp_path / "release")
    assert "\n" not in str(told.value)
    assert list((tmp_path / "release").iterdir()) == []
