"""The routes: the page, and the HTTP API that it uses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cxr_jax.retrieval.draft import METHODS
from cxr_jax.server.answers import MOST, Answers, ImageQuestion, RegionQuestion, TextQuestion
from cxr_jax.server.batching import MOST as MOST_AT_ONCE
from cxr_jax.server.batching import Batcher
from cxr_jax.server.decoding import Decoders
from cxr_jax.server.guard import Guard, refuse, reply
from cxr_jax.server.limits import Limits, RefusedError
from cxr_jax.server.uploads import read_form, read_json

PAGE = {"index.html": "text/html", "page.css": "text/css"}
PAGE |= dict.fromkeys(("page.js", "viewer.js", "api.js"), "text/javascript")
TOP_K = 5
YES_NO = {"true": True, "1": True, "false": False, "0": False}
DECODERS = 2
GRACE = 20  # seconds for what was asked before a stop

Answered = Callable[[Request], Awaitable[Response]]


def make_app(answers: Answers, token: str = "", loopback: bool = True, limits: Limits | None = None) -> ASGIApp:
    """The ASGI app, which starts its decoders with the server and ends them with it.

    Args:
      token, loopback: as `guard.Guard` takes them.
    """
    limits = limits or Limits()
    api = _Api(answers, limits)
    routes = [Route(f"/{name.removeprefix('index.html')}", _file(name, kind)) for name, kind in PAGE.items()]
    routes += [
        Route("/healthz", _health),
        Route("/api/about", _line(api.about)),
        Route("/api/study", _line(api.study)),
        Route("/api/thumbnail", _line(api.thumbnail)),
        Route("/api/report", _line(api.report), methods=["POST"]),
        Route("/api/picture", _line(api.picture), methods=["POST"]),
        Route("/api/region", _line(api.region), methods=["POST"]),
        Route("/api/search", _line(api.search), methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: _bug}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=api.running)
    return Guard(app, token, loopback, limits.at_once)


def make_server(app: ASGIApp) -> uvicorn.Server:
    """What runs the app. It logs faults, and no request: an address may hold what nobody else should read."""
    config = uvicorn.Config(app, loop="asyncio", http="h11", ws="none", lifespan="on", log_level="warning",
                            access_log=False, server_header=False, proxy_headers=False,
                            timeout_graceful_shutdown=GRACE)  # fmt: skip
    return uvicorn.Server(config)


class _Api:
    """What the API's routes do."""

    def __init__(self, answers: Answers, limits: Limits):
        self._answers, self._limits = answers, limits

    @asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        """What runs while the server does."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._reports = Batcher(self._answers.reports, thread)
        self._searches = Batcher(self._answers.searches, thread)
        self._regions = Batcher(self._answers.regions, thread, most=1)  # it takes long: others have their turns between
        side = self._answers.model.config["image_size"]
        self._decoders = await asyncio.to_thread(Decoders, DECODERS, side, self._limits)
        warming = asyncio.create_task(self._warm_up())
        try:
            yield
        finally:
            warming.cancel()
            self._decoders.close()
            thread.shutdown(cancel_futures=True)

    async def _warm_up(self) -> None:
        """Has larger batches compiled, in a thread beside the model's: requests are answered meanwhile."""
        batch = 1
        while batch < MOST_AT_ONCE:
            batch *= 2
            await asyncio.to_thread(self._answers.warm_up, batch)

    async def about(self, request: Request) -> Response:
        return reply({**self._answers.about, "most_bytes": self._limits.upload})

    async def study(self, request: Request) -> Response:
        return reply(self._answers.study(request.query_params.get("study_id", "")))

    async def thumbnail(self, request: Request) -> Response:
        return Response(self._answers.thumbnail(request.query_params.get("study_id", "")), media_type="image/jpeg")

    async def report(self, request: Request) -> Response:
        data, fields = await read_form(request, self._limits)
        method = fields.get("method", self._answers.method)
        if method not in METHODS:
            raise RefusedError(422, f"method is one of {', '.join(METHODS)}")
        abstain = fields.get("abstain", "false")
        if abstain not in YES_NO:
            raise RefusedError(422, f"abstain is one of {', '.join(YES_NO)}")
        text = fields.get("top_k", str(TOP_K))
        top_k = _top_k(int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None)
        square, warnings = await self._decoders.square(data)
        answer = await self._reports.ask(ImageQuestion(square, method, top_k, YES_NO[abstain]))
        return reply({**answer, "warnings": [*warnings, *answer["warnings"]]})

    async def picture(self, request: Request) -> Response:
        data, _ = await read_form(request, self._limits)
        return Response((await self._decoders.picture(data)).pixels, media_type="image/png")

    async def region(self, request: Request) -> Response:
        data, fields = await read_form(request, self._limits)
        text = self._text(fields.get("text"))
        if not self._answers.finding_of(text):
            raise RefusedError(422, "no map of what this text says has passed its test; /api/about has those that did")
        square, _ = await self._decoders.square(data)
        return Response(await self._regions.ask(RegionQuestion(square, text)), media_type="image/png")

    def _text(self, text: object) -> str:
        """What was sent as text; raises a RefusedError where that cannot be embedded."""
        if not isinstance(text, str) or not text.strip():
            raise RefusedError(422, "text is missing or blank; send some words")
        if len(text) > self._limits.search_text:
            raise RefusedError(422, f"text is longer than {self._limits.search_text} characters")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise RefusedError(422, "text holds half a character (a lone surrogate)")
        return text

    async def search(self, request: Request) -> Response:
        content = await read_json(request, self._limits)
        text = self._text(content.get("text"))
        return reply(await self._searches.ask(TextQuestion(text, _top_k(content.get("top_k", TOP_K)))))


def _top_k(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MOST:
        raise RefusedError(422, f"top_k is a whole number from 1 to {MOST}")
    return value


def _line(answered: Answered) -> Answered:
    """The same, its refusals answered."""

    async def answer(request: Request) -> Response:
        try:
            return await answered(request)
        except RefusedError as refused:
            return refuse(refused.status, refused.message)

    return answer


def _file(name: str, media_type: str) -> Answered:
    content = (resources.files("cxr_jax.server") / "page" / name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=f"{media_type}; charset=utf-8")

    return answer


async def _health(request: Request) -> Response:
    return reply({"status": "ok"})


async def _http_error(request: Request, error: HTTPException) -> Response:
    return refuse(error.status_code, error.detail.lower(), error.headers)


async def _bug(request: Request, error: Exception) -> Response:
    return refuse(500, "the server failed; its log says where")
