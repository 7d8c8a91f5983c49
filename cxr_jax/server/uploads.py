"""A request's body, into memory and never to a disk, within limits of bytes and of time."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cxr_jax.server.limits import MIB, Limits, RefusedError

FIELDS = 4  # of a form, beside the image
JSON_BYTES = 2**18


async def read_form(request: Request, limits: Limits) -> tuple[bytes, dict[str, str]]:
    """A multipart form's `image`, and its other fields; the image's name is not looked at.

    Raises:
      RefusedError: it is none, holds no image or several, is too large, or came too slowly.
    """

    class InMemory(MultiPartParser):
        spool_max_size = limits.drained  # which no body reaches

    body = _Body(request, limits.upload, limits.drained)
    async with _received(body, limits.upload_seconds):
        if _content_type(request) != "multipart/form-data":
            raise RefusedError(415, "send multipart/form-data with a file as image")
        try:
            form = await InMemory(request.headers, body.chunks(), max_files=1, max_fields=FIELDS).parse()
        except (MultiPartException, ValueError, LookupError) as error:
            raise RefusedError(400, "no multipart/form-data with one file as image") from error
    try:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise RefusedError(400, "image is missing; send multipart/form-data with a file as image")
        data = await image.read()
        if not data:
            raise RefusedError(422, "the image is empty; send another")
        return data, {key: value for key, value in form.items() if isinstance(value, str)}
    finally:
        await form.close()


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """A JSON object.

    Raises:
      RefusedError: it is none, is too large, or came too slowly.
    """
    body = _Body(request, JSON_BYTES, limits.drained)
    async with _received(body, limits.upload_seconds):
        if _content_type(request) != "application/json":
            raise RefusedError(415, "send application/json")
        text = b"".join([chunk async for chunk in body.chunks()])
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the body is no JSON") from error
    if not isinstance(content, dict):
        raise RefusedError(400, 'the body is no JSON object; send {"text": "…", "top_k": 5}')
    return content


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Body:
    """A request's body as it comes, of at most `most` bytes."""

    def __init__(self, request: Request, most: int, drained: int):
        self._request, self._most, self._drained = request, most, drained
        self._size, self._ended = 0, False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Its parts; raises a RefusedError where there are too many."""
        while not self._ended:
            yield await self._next()
            if self._size > self._most:
                most = f"{self._most // MIB} MiB" if self._most >= MIB else f"{self._most // 2**10} KiB"
                raise RefusedError(413, f"larger than {most}; send less")

    async def drain(self) -> None:
        """Reads on, so that the answer reaches who is still sending; not for ever."""
        while not self._ended and self._size < self._drained:
            await self._next()

    async def _next(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        part = message.get("body", b"")
        self._size += len(part)
        return part


@asynccontextmanager
async def _received(body: _Body, seconds: float) -> AsyncIterator[None]:
    """A context in which a body must have come."""
    try:
        async with asyncio.timeout(seconds):
            try:
                yield
            except RefusedError:
                await body.drain()
                raise
    except TimeoutError as late:
        raise RefusedError(408, f"the body took longer than {seconds:g} s") from late
    except ClientDisconnect as error:
        raise RefusedError(400, "the sender has gone") from error
