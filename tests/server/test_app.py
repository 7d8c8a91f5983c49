"""The HTTP API: what it answers, and that what it refuses is one line."""

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data import images
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.server.guard import CONTENT_SECURITY_POLICY
from cxr_jax.server.limits import Limits
from tests.data.test_dicom import saved as dicom_file
from tests.data.test_grey import a_radiograph
from tests.retrieval.test_model import build
from tests.server.standin import ODD_ID, REPORTS, SIDE, STUDIES, Brightness, Client, Dim, form, png, served


@pytest.fixture(scope="module")
def model():
    return Brightness()


@pytest.fixture(scope="module")
def client(model):
    with served(model, limits=Limits(upload=2**20, upload_seconds=5)) as client:
        yield client


def test_it_says_that_it_is_there(client):
    assert client.get("/healthz").json == {"status": "ok"}


def test_a_report_has_the_api_s_shape(client):
    reply = client.upload(png(0)).json
    assert set(reply) == {"neighbours", "draft", "warnings"}
    assert reply["warnings"] == []
    assert len(reply["neighbours"]) == 5
    nearest = reply["neighbours"][0]
    assert (nearest["study_id"], nearest["report"]) == ("s1", REPORTS[1])
    assert [near["similarity"] for near in reply["neighbours"]] == sorted(
        (near["similarity"] for near in reply["neighbours"]), reverse=True
    )
    assert reply["draft"]["text"] == " ".join(s["text"] for s in reply["draft"]["sentences"]) == REPORTS[1]
    (sentence,) = reply["draft"]["sentences"]
    assert {"text", "evidence", "against", "share", "region"} == set(sentence)
    assert sentence["evidence"][0] == {"study_id": "s1", "similarity": nearest["similarity"]}
    assert {source["study_id"] for source in sentence["against"]} == {f"s{i}" for i in range(0, 20, 4)}
    assert 0 < sentence["share"] < 1


def test_neighbours_are_marked_by_what_the_draft_says(client):
    stands = {s["text"]: s["stands"] for near in client.upload(png(0)).json["neighbours"] for s in near["sentences"]}
    assert stands["No pleural effusion."] == "agrees"
    assert stands["Left pleural effusion."] == "contradicts"
    assert stands["The heart is enlarged."] == ""


@pytest.mark.parametrize("method", ["top1", "consensus", "sentences", "compose"])
def test_the_method_and_the_number_are_the_form_s(client, method):
    reply = client.upload(png(200), fields={"method": method, "top_k": "2"}).json
    assert reply["draft"]["method"] == method
    assert len(reply["neighbours"]) == 2


def test_a_search_finds_images(client):
    reply = client.post("/api/search", {"text": "x" * 100, "top_k": 2}).json
    assert [near["study_id"] for near in reply["neighbours"]] == [ODD_ID, f"s{STUDIES - 2}"]
    assert set(reply["neighbours"][0]) == {"study_id", "similarity", "report"}
    assert len(client.post("/api/search", {"text": "effusion"}).json["neighbours"]) == 5


def test_a_study_and_its_thumbnail_are_found_by_any_id(client):
    path = "?study_id=a%20b%2F%C3%BC%3Cb%3E%3F%26"
    assert client.get(f"/api/study{path}").json == {
        "study_id": ODD_ID, "report": "Pneumothorax on the right.", "labels": []
    }  # fmt: skip
    thumbnail = client.get(f"/api/thumbnail{path}")
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.body)).size == (16, 16)
    for name in ("study", "thumbnail"):
        assert client.get(f"/api/{name}?study_id=none").error == "there is no such study in the pool"
        assert client.get(f"/api/{name}").status == 404


def test_a_picture_is_what_the_model_looks_at(client, tmp_path):
    values = a_radiograph(40, 32)
    dicom_file(tmp_path, values, bits=12, kind="MONOCHROME1")
    reply = client.upload((tmp_path / "image.dcm").read_bytes(), "/api/picture")
    assert reply.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(reply.body)))
    assert shown.shape == values.shape
    assert np.corrcoef(shown.ravel(), values.ravel())[0, 1] < -0.9


def test_a_region_is_a_map_of_the_square(client):
    reply = client.upload(png(200, 60), "/api/region", {"text": "Left pleural effusion."})
    assert reply.headers["content-type"] == "image/png"
    alpha = np.asarray(Image.open(io.BytesIO(reply.body)))[:, :, 3]
    assert alpha.shape == (SIDE, SIDE)
    assert alpha[: SIDE // 4, : SIDE // 4].min() > 0
    assert alpha[SIDE // 2 :].max() == 0


def test_only_what_passed_has_a_region(client):
    assert client.get("/api/about").json["regions"] == {
        "effusion": {"map": "similarity", "pointing": 0.751, "studies": 40}
    }
    drafts = [client.upload(png(grey)).json["draft"]["sentences"] for grey in (0, 222)]
    regions = [(s["text"], s["region"]) for draft in drafts for s in draft]
    assert regions == [(REPORTS[1], None), (REPORTS[0], "effusion")]


@pytest.mark.parametrize(
    ("data", "fields", "status", "says"),
    [
        (png(), {}, 422, "text is missing or blank"),
        (png(), {"text": " "}, 422, "text is missing or blank"),
        (png(), {"text": "effusion" * 2000}, 422, "longer than"),
        (png(), {"text": "No pleural effusion."}, 422, "no map"),
        (png(), {"text": "The heart is enlarged."}, 422, "no map"),
        (png()[:-40], {"text": "Pleural effusion."}, 422, "damaged image"),
        (b"", {"text": "Pleural effusion."}, 422, "empty"),
    ],
)
def test_a_region_that_cannot_be_shown_is_one_line(client, data, fields, status, says):
    reply = client.upload(data, "/api/region", fields)
    assert reply.status == status
    assert says in reply.error


def test_it_says_what_it_was_trained_on(client):
    about = client.get("/api/about").json
    assert about["trained_on"] == "phantom (drawn)"
    assert about["drawn"] is True
    assert "Not a medical device" in about["notice"]
    assert about["studies"] == STUDIES
    assert about["most_bytes"] == 2**20


def test_a_doubtful_image_is_answered_with_a_warning(client):
    file = io.BytesIO()
    Image.new("L", (40, 40), 7).save(file, "PNG")
    (warning,) = client.upload(file.getvalue()).json["warnings"]
    assert warning.startswith("flat picture")


@pytest.mark.parametrize("method", ["top1", "compose"])
def test_a_doubted_image_has_a_warning_and_its_draft_is_withheld_on_demand(method):
    class Doubting(Brightness):
        checks = Dim(100)

    with served(Doubting()) as client:
        fine, doubted = png(200), png(30)
        for abstain in ({}, {"abstain": "false"}, {"abstain": "true"}, {"abstain": "1"}):
            fields = {"method": method, **abstain}
            reply = client.upload(fine, fields=fields).json
            assert (reply["warnings"], reply["draft"]["withheld"]) == ([], False)
            assert reply["draft"]["text"] or method == "compose"
            reply = client.upload(doubted, fields=fields).json
            assert reply["warnings"] == ["too dim: so it is"]
            withheld = abstain.get("abstain") in ("true", "1")
            assert reply["draft"]["withheld"] == withheld
            if method == "top1":
                assert (reply["draft"]["text"] == "") == (reply["draft"]["sentences"] == []) == withheld
            assert len(reply["neighbours"]) == 5
        assert "abstain is one of true, 1, false, 0" in client.upload(fine, fields={"abstain": "maybe"}).error


def test_what_is_not_checked_is_said_to_who_asks_for_it():
    class Old(Brightness):
        checks = None

    with served(Old()) as client:
        assert client.upload(png()).json["warnings"] == []
        reply = client.upload(png(), fields={"abstain": "true"}).json
        assert reply["warnings"][0].startswith("not checked: ")
        assert reply["draft"]["text"]


def test_what_arrives_together_is_encoded_together(client, model):
    model.batches.clear()
    with ThreadPoolExecutor(16) as threads:
        replies = list(threads.map(lambda grey: client.upload(png(grey)), range(20, 228, 4)))
    assert [reply.status for reply in replies] == [200] * 52
    assert sum(model.batches) == 52
    assert max(model.batches) <= 32
    alone = [client.upload(png(grey)).json for grey in (20, 224)]
    assert [replies[0].json, replies[-1].json] == alone


@pytest.mark.parametrize(
    ("data", "fields", "status", "says"),
    [
        (b"", {}, 422, "empty"),
        (b"no image at all", {}, 415, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", {}, 415, "not an image"),
        (b"GIF89a" + bytes(40), {}, 415, "not an image"),
        (png()[:-40], {}, 422, "damaged image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), {}, 415, "not an image"),
        (bytes(128) + b"DICM" + bytes(50), {}, 422, "DICOM"),
        (bytes(2**20), {}, 413, "larger than 1 MiB"),
        (png(), {"method": "magic"}, 422, "method is one of top1, consensus"),
        (png(), {"top_k": "0"}, 422, "from 1 to 20"),
        (png(), {"top_k": "²"}, 422, "from 1 to 20"),
        (png(), {"top_k": "9" * 5000}, 422, "from 1 to 20"),
        (png(), dict.fromkeys("abcdefgh", ""), 400, "multipart"),
    ],
)  # fmt: skip
def test_a_bad_upload_is_one_line(client, data, fields, status, says):
    reply = client.upload(data, fields=fields)
    assert reply.status == status
    assert says in reply.error
    assert "/proc" not in reply.error


def test_a_bomb_is_refused_before_it_is_decoded(client):
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    reply = client.upload(file.getvalue())
    assert (reply.status, reply.error) == (413, "too many pixels; shrink the image")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (form(png(), name="file")[0], "multipart/form-data; boundary=xyz", 400),
        (form(png())[0][:-30], "multipart/form-data; boundary=xyz", 400),
        (form(png())[0], "multipart/form-data", 415),
        (b"\r\n" * 50, "multipart/form-data; boundary=xyz", 400),
        (form(png())[0] * 2, "multipart/form-data; boundary=xyz", 200),  # what follows the end is left out
        (png(), "image/png", 415),
        (b"", "", 415),
    ],
)
def test_a_form_that_is_none(client, body, kind, status):
    assert client.ask("POST", "/api/report", body, {"Content-Type": kind}).status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400), ("[1]", 400), ("[" * 100_000, 400), ('{"text": 5}', 422), ('{"text": " "}', 422), ("{}", 422),
        ('{"text": "x", "top_k": true}', 422), ('{"text": "x", "top_k": 21}', 422),
        ('{"text": "x", "top_k": "2"}', 422),
        ('{"text": "\\ud800"}', 422), (json.dumps({"text": "x" * 10_001}), 422), ("\xff", 400), ("1" * 2**19, 413),
    ],
)  # fmt: skip
def test_a_bad_search_is_one_line(client, body, status):
    reply = client.ask("POST", "/api/search", body.encode("latin-1"), {"Content-Type": "application/json"})
    assert reply.status == status
    assert reply.error


def test_a_search_is_json(client):
    assert client.ask("POST", "/api/search", '{"text": "x"}', {"Content-Type": "text/plain"}).status == 415


def test_unknown_paths_and_methods(client):
    assert (client.get("/nothing").status, client.get("/nothing").error) == (404, "not found")
    assert client.get("/../pyproject.toml").status == 404
    reply = client.get("/api/report")
    assert (reply.status, reply.error) == (405, "method not allowed")


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/viewer.js", "/api.js", "/healthz", "/nothing"])
def test_every_answer_forbids_all_but_its_own(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_an_upload_that_does_not_come(model):
    with served(model, limits=Limits(upload_seconds=0.3)) as client:
        body, kind = form(png())
        reply = Client(client.port).ask(
            "POST", "/api/report", body[:50], {"Content-Type": kind, "Content-Length": "999"}
        )
        assert (reply.status, reply.error) == (408, "the body took longer than 0.3 s")


def test_a_fault_of_the_server_s_own_is_one_line(caplog):
    class Broken(Brightness):
        def encode_image(self, images, batch_size=32):
            raise RuntimeError("what is in here is nobody's business")

    with served(Broken()) as client, caplog.at_level(logging.CRITICAL):
        reply = client.upload(png())
        assert (reply.status, reply.error) == (500, "the server failed; its log says where")
        assert client.post("/api/search", {"text": "x"}).status == 200


def test_a_network_s_answers_are_those_of_its_python_api():
    model = build(0)
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32), dtype=np.uint8))
    assert len(pictures) == len(REPORTS)
    rows = [Row(f"i{i}", f"s{i}", "p", report, (), i) for i, report in enumerate(REPORTS)]
    z_v, z_t = model.encode_image(pictures), model.encode_text(REPORTS)
    model = Model(model.config, model.variables, model.tokenizer, SplitIndex("train", 1, rows, z_v, z_t, [b""] * 4))
    model.config["data"]["description"] = "random weights"
    with served(model) as client:
        for picture in pictures:
            reply = client.upload(images.encode_png(picture)).json
            near = model.retrieve(picture)
            assert [n["study_id"] for n in reply["neighbours"]] == [n.row.study_id for n in near]
            np.testing.assert_allclose(
                [n["similarity"] for n in reply["neighbours"]], [n.similarity for n in near], atol=1e-4
            )
            assert reply["draft"]["text"] == model.draft(picture).text
        found = client.post("/api/search", {"text": REPORTS[0], "top_k": 2}).json["neighbours"]
        assert [n["study_id"] for n in found] == [n.row.study_id for n in model.retrieve_images(REPORTS[0], 2)]
