"""Who may ask: this machine by its own names, others with the token, and no other site's page."""

import asyncio

import pytest

from cxr_jax.server.guard import Guard, is_loopback, reply
from tests.server.standin import png, served

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def client():
    with served() as client:
        yield client


@pytest.fixture(scope="module")
def elsewhere():
    with served(token=TOKEN, loopback=False) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:80", "127.3.2.1", "[::1]", "[::1]:8", "::1"],
)
def test_names_of_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.com", "localhost.evil.com", "127.0.0.1.evil.com:80", "0.0.0.0", "10.0.0.1", "[::2]:1", "127.1",
     "evil.com:127.0.0.1", "::", "localhost@evil.com", "[::1].evil.com", "[::1]@evil.com", "localhost:evil", "[::1"],
)  # fmt: skip
def test_names_of_others(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/about"])
def test_a_name_that_is_pointed_here_is_refused(client, path):
    assert client.get(path, Host="evil.com:8000").status == 421
    assert client.get(path, Host="localhost:8000").status == 200


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "http://localhost.evil.com", "http://localhost:1"])
def test_another_site_s_page_is_refused(client, origin):
    reply = client.upload(png(), Origin=origin)
    assert (reply.status, reply.error) == (403, "asked for by a page of another site")


def test_the_page_itself_is_answered(client):
    assert client.upload(png(), Host="localhost:5", Origin="http://localhost:5").status == 200


@pytest.mark.parametrize(
    "given", ["", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", TOKEN, f"Basic {TOKEN}", "Bearer ü"]
)
def test_without_the_token_nothing_is_told(elsewhere, given):
    for path in ("/api/about", "/api/study?study_id=s1", "/api/thumbnail?study_id=s1", "/api/nothing"):
        reply = elsewhere.get(path, **({"Authorization": given} if given else {}))
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in reply.error
    assert elsewhere.upload(png(), Authorization=given).status == 401


def test_with_the_token_any_name_is_answered(elsewhere):
    assert elsewhere.get("/api/about", Host="box.lan:8000", Authorization=f"Bearer {TOKEN}").status == 200
    assert elsewhere.upload(png(), Authorization=f"bearer {TOKEN}").status == 200


def test_the_page_holds_nothing_and_needs_none(elsewhere):
    assert elsewhere.get("/").status == elsewhere.get("/page.js").status == elsewhere.get("/healthz").status == 200


def test_too_many_at_once_are_sent_away_and_come_again():
    sent = []

    async def run():
        gate = asyncio.Event()

        async def app(scope, receive, send):
            await gate.wait()
            await reply({})(scope, receive, send)

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request"}

        guard = Guard(app, "", False, at_once=2)
        scope = {"type": "http", "path": "/", "headers": [], "method": "GET"}
        first = [asyncio.create_task(guard(scope, receive, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await guard(scope, receive, send)
        gate.set()
        await asyncio.gather(*first)
        await guard(scope, receive, send)

    asyncio.run(run())
    assert [message["status"] for message in sent if "status" in message] == [503, 200, 200, 200]
