"""What stands before every request: who may ask, from where, how many at once; and what every answer forbids a browser.

A page of another site can send requests to a server on this machine, and by a name of its own that it points here (DNS
rebinding) read what they answer. So the Host must be this machine's, and an Origin the Host's.
"""

import hmac
import ipaddress
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page's own style, script and answers, and images that it makes; nothing of another machine's.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def reply(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON on one line."""
    body = json.dumps(content, allow_nan=False) + "\n"
    return Response(body, status, headers, "application/json")


def refuse(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal: {"error"}."""
    return reply({"error": message or HTTPStatus(status).phrase.lower()}, status, headers)


_HOST = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::\d{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, can only be this machine."""
    parts = _HOST.fullmatch(host)
    name = host if parts is None else parts["address"] or parts["name"]  # an IPv6 address may stand without brackets
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware.

    Args:
      token: that /api/ asks for; "" for none.
      loopback: whether only requests to this machine's own names are answered.
      at_once: requests that are answered at a time.
    """

    def __init__(self, app: ASGIApp, token: str, loopback: bool, at_once: int):
        self._app, self._token, self._loopback, self._at_once = app, token.encode(), loopback, at_once
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; those that are refused here the app does not see."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self._refusal(Headers(scope=scope), scope["path"])
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        self._running += 1
        try:
            await self._app(scope, receive, send_guarded)
        finally:
            self._running -= 1

    def _refusal(self, headers: Headers, path: str) -> Response | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._loopback and not is_loopback(host):
            return refuse(421, "asked for by a name that is not this machine's; open it as http://localhost")
        if origin is not None and origin.partition("://")[2] != host:
            return refuse(403, "asked for by a page of another site")
        if path.startswith("/api/") and self._token and not self._knows_token(headers.get("authorization", "")):
            return refuse(
                401, "the token is missing or wrong; send Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )
        if self._running >= self._at_once:
            return refuse(503, "too many requests at once; try again", {"Retry-After": "1"})
        return None

    def _knows_token(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)
