"""A request's body, into memory and never to a disk, within limits of bytes and of time."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from cxr_jax.server.limits import MIB, Limits, RefusedError
from cxr_jax.server.multipart import Form

JSON_BYTES = 2**18


async def read_form(request: Request, limits: Limits) -> tuple[bytearray, dict[str, str]]:
    """A multipart form's `image`, and its other fields; the image's name is not looked at.

    Raises:
      RefusedError: it is none, holds no image or several, is too large, or came too slowly.
    """
    body = _Body(request, limits.upload, limits.drained)
    async with _received(body, limits.upload_seconds):
        form = Form(request.headers.get("content-type", ""))
        async for chunk in body.chunks():
            form.write(chunk)
    parts = form.end()
    found = [part.data for part in parts if part.name == "image" and part.is_file]
    if len(found) != 1:
        raise RefusedError(400, "send multipart/form-data with one file as image")
    if not found[0]:
        raise RefusedError(422, "the image is empty; send another")
    return found[0], {part.name: part.data.decode("utf-8", "replace") for part in parts if not part.is_file}


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """A JSON object.

    Raises:
      RefusedError: it is none, is too large, or came too slowly.
    """
    body = _Body(request, JSON_BYTES, limits.drained)
    async with _received(body, limits.upload_seconds):
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusedError(415, "send application/json")
        text = b"".join([chunk async for chunk in body.chunks()])
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the body is no JSON") from error
    if not isinstance(content, dict):
        raise RefusedError(400, 'the body is no JSON object; send {"text": "…", "top_k": 5}')
    return content


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
