"""A local page and an HTTP API: reports for radiographs, radiographs for a text, by a trained run or an export.

    python -m cxr_jax.serve --workdir DIR [--port 8000]      then open http://localhost:8000
    python -m cxr_jax.serve --workdir DIR --host 0.0.0.0 --token TOKEN

Only this machine is answered; another --host needs a --token, which the page asks for once and programs send as
Authorization: Bearer TOKEN. There is no encryption: put a proxy with TLS before it. Nothing that is sent is kept.
Ctrl-C or SIGTERM ends it once what was asked is answered. docs/serve.md has the API.
"""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import cxr_jax
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.retrieval.abstention import UNCHECKED
from cxr_jax.runtime import parallel

PORT = 8000
TOKEN_LETTERS = 16


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a run's folder, or an export's with its index")
    parser.add_argument("--port", type=int, default=PORT, help=f"{PORT} by default; 0 for a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at; by default this machine only")
    parser.add_argument("--token", default="", help=f"that requests must carry, {TOKEN_LETTERS} letters or more")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        from cxr_jax.server.answers import Answers
        from cxr_jax.server.app import make_app, make_server
        from cxr_jax.server.guard import is_loopback
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("cxr_jax"):
            raise
        raise InputError(f'serving needs {error.name}; pip install "cxr_jax[serve]"') from error
    loopback = is_loopback(arguments.host)
    _check(arguments, loopback)
    with _bound(arguments.host, arguments.port) as listener:
        model = cxr_jax.load(arguments.workdir)
        parallel.cache_compilations(Path(model.config["data"]["cache"]).expanduser() / "compiled")
        answers = Answers(model)
        if model.checks is None:
            print(f"--workdir {arguments.workdir}: images are {UNCHECKED}", file=sys.stderr)
        answers.warm_up(1)
        server = make_server(make_app(answers, arguments.token, loopback))
        host, port = listener.getsockname()[:2]
        shown = "localhost" if loopback else f"[{host}]" if ":" in host else host
        listener.listen()  # from here on who connects is answered
        print(f"trained on {model.config['data']['description']}; not a medical device")
        print(f"serving {arguments.workdir} at http://{shown}:{port} (Ctrl-C ends it)", flush=True)
        previous = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again once it has stopped
        try:
            server.run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, previous)


def _check(arguments: argparse.Namespace, loopback: bool) -> None:
    if not hasattr(os, "memfd_create"):
        raise InputError("serving needs Linux: uploads are decoded in files that are in memory only")
    if not 0 <= arguments.port < 2**16:
        raise InputError(f"--port {arguments.port}: must be from 0 to 65535")
    if not loopback and not arguments.token:
        raise InputError(f"--host {arguments.host}: others can reach it; give a --token that they must have")
    token = arguments.token
    if token and (len(token) < TOKEN_LETTERS or not token.isascii() or not token.isprintable() or " " in token):
        raise InputError(
            f"--token: must be {TOKEN_LETTERS} ASCII letters or more, without blanks; python -c "
            "'import secrets; print(secrets.token_urlsafe())' makes one"
        )


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound to an address, before the model is loaded, which takes seconds."""
    listener = None
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio sends answers without delay only where the protocol is named.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        return listener
    except OSError as error:
        if listener is not None:
            listener.close()
        raise InputError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror or error}); name another"
        ) from error


if __name__ == "__main__":
    run_command(main)
