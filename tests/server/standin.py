"""A model without a network, and its server on a port of this machine, for tests of what lies between them."""

import contextlib
import http.client
import io
import json
import socket
import threading
from typing import ClassVar, NamedTuple

import numpy as np
from PIL import Image

from cxr_jax.data import images
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.regions import Regions, Shown
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.server.answers import Answers
from cxr_jax.server.app import make_app, make_server

SIDE, STUDIES = 32, 24
ODD_ID = "a b/ü<b>?&"  # of the brightest study
REPORTS = (
    "Left pleural effusion.",
    "No pleural effusion.",
    "The heart is enlarged. <script>x</script>",
    "Clear lungs.",
)


def place(share):
    """A point on a quarter of a circle, from black to white."""
    angle = np.asarray(share, np.float64) * np.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


class Dim:
    """Checks that doubt nothing but what is darker than `below`."""

    def __init__(self, below=0):
        self.below = below

    def doubts(self, squares, embeddings, agreement):
        return [("too dim: so it is",) if square.mean() < self.below else () for square in squares]


class Corner:
    """Sees every effusion in the image's upper left, and shows no other finding."""

    shown: ClassVar = {"effusion": Shown("similarity", 0.751, 40)}
    finding_of = Regions.finding_of

    def heat(self, square, texts, kind):
        assert kind == "similarity"
        heat = np.zeros((len(texts), *square.shape), np.float32)
        heat[:, : SIDE // 4, : SIDE // 4] = 1
        return heat


class Brightness(Model):
    """The nearest report is that of the image as bright; of a text, of the image as bright as the text is long."""

    checks = Dim()

    def __init__(self):
        self.config = {
            "data": {"dataset": "phantom", "description": "phantom (drawn)", "cache": "~/none"},
            "draft": {"method": "top1"}, "image_size": SIDE,
        }  # fmt: skip
        rows = [Row(f"i{i}", f"s{i}", "p", REPORTS[i % len(REPORTS)], ("Label",), i) for i in range(STUDIES - 1)]
        rows.append(Row("last", ODD_ID, "p", "Pneumothorax on the right.", (), STUDIES))
        at = place(np.arange(STUDIES) / (STUDIES - 1))
        pictures = [images.encode_jpeg(np.full((16, 16), 10 * i, np.uint8)) for i in range(STUDIES)]
        self._pool, self._thresholds = SplitIndex("train", 7, rows, at, at, pictures), None
        self.batches, self.regions = [], Corner()

    scale = 10.0

    def encode_image(self, images, batch_size=32):
        self.batches.append(len(images))
        return place(np.asarray(images).mean(axis=(1, 2)) / 255)

    def encode_text(self, texts, batch_size=32):
        return place([min(len(text) / 100, 1) for text in texts])


class Cold(Answers):
    """Has nothing compiled before it is asked."""

    def warm_up(self, batch):
        pass


class Reply(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """What a refusal says: one line of JSON with nothing else in it."""
        assert self.body.endswith(b"\n")
        assert self.body.count(b"\n") == 1
        assert set(self.json) == {"error"}
        return self.json["error"]


class Client:
    """Asks a server, a connection a request."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, path, content, **headers):
        return self.ask("POST", path, json.dumps(content), {"Content-Type": "application/json", **headers})

    def upload(self, data, path="/api/report", fields=(), **headers):
        body, kind = form(data, fields)
        return self.ask("POST", path, body, {"Content-Type": kind, **headers})


def form(data, fields=(), name="image", filename="patient-name.png"):
    """A multipart form of a file and fields, and its content type."""
    parts = [
        f'--xyz\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in dict(fields).items()
    ]
    head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + data + b"\r\n--xyz--\r\n", "multipart/form-data; boundary=xyz"


def png(grey=100, side=40):
    """A picture of a brightness, with something on it."""
    pixels = np.full((side, side), grey, np.uint8)
    pixels[::2] = np.clip(grey + 20, 0, 255)
    pixels[1::2] = np.clip(grey - 20, 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def served(model=None, **options):
    """A client of a server that runs in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(make_app(Cold(model or Brightness()), **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Client(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
