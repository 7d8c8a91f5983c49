"""What a request may cost, and how one that may not be answered is refused."""

from typing import NamedTuple

MIB = 2**20


class Limits(NamedTuple):
    """Bytes, seconds and numbers; pixels are limited by `data.dicom_file.MAX_PIXELS`."""

    upload: int = 64 * MIB  # of a request's body
    drained: int = 256 * MIB  # of a body that is too large, read on so that its sender gets the answer
    upload_seconds: float = 30.0  # from a request's head to its body's end
    decode_seconds: float = 20.0  # of one image
    start_seconds: float = 120.0  # of a decoder, on a machine that is busy
    decoder_memory: int = 4096 * MIB  # its address space
    at_once: int = 64  # requests that are being answered; more are refused
    search_text: int = 10_000  # characters


class RefusedError(Exception):
    """A request that is answered by an HTTP status and one line."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message
