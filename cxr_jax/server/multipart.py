"""A multipart form (RFC 7578) as it comes, in memory: Starlette's own writes what is large to a disk."""

import logging
from typing import NamedTuple

from python_multipart.multipart import MultipartParser, parse_options_header

from cxr_jax.server.limits import RefusedError

PARTS = 8  # of a form
_SILENT = logging.Logger("multipart", logging.CRITICAL + 1)  # the parser writes bytes of malformed bodies to its own


class Part(NamedTuple):
    """One field's bytes, by its name; whether it is a file. The file's own name is not kept."""

    name: str
    is_file: bool
    data: bytearray


class Form:
    """Takes a body's bytes in turn; `parts` has its fields once all have come.

    Args:
      content_type: the request's.

    Raises:
      RefusedError: it is no multipart form.
    """

    def __init__(self, content_type: str):
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise RefusedError(415, "send multipart/form-data with a file as image")
        self.parts: list[Part] = []
        self._field, self._value, self._disposition = b"", b"", b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_header_field": self._take_field,
                    "on_header_value": self._take_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_part,
                    "on_part_data": self._take_data,
                    "on_end": self._end,
                },
            )
        except ValueError as error:  # FormParserError is one: too long a boundary
            raise RefusedError(400, "no multipart form") from error
        self._parser.logger = _SILENT

    def write(self, data: bytes) -> None:
        """The next bytes; raises a RefusedError where they fit in no form."""
        try:
            self._parser.write(data)
        except ValueError as error:  # FormParserError is one
            raise RefusedError(400, "no multipart form") from error

    def end(self) -> list[Part]:
        """The fields; raises a RefusedError where the form breaks off."""
        if not self._ended:
            raise RefusedError(400, "the multipart form breaks off")
        return self.parts

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field, self._value = b"", b""

    def _begin_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        if len(self.parts) == PARTS:
            raise RefusedError(400, f"more than {PARTS} fields in a multipart form")
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self.parts.append(Part(name, b"filename" in options, bytearray()))
        self._disposition = b""

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data.extend(data[start:end])

    def _end(self) -> None:
        self._ended = True
