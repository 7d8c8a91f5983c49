"""A folder of files that are mapped into memory: all of one folder, whatever takes its name, and held to checksums."""

import os
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

CHUNK, CHUNKS = 1 << 20, 16  # bytes that have a checksum of their own; how many of a file's are looked at


def checksums(file: Path) -> list[int]:
    """CRC-32 of each CHUNK of a file."""
    with file.open("rb") as stream:
        return [zlib.crc32(chunk) for chunk in iter(partial(stream.read, CHUNK), b"")]


class OpenFolder:
    """An index's folder, its files opened by the folder itself: one that takes its name has none of them."""

    def __init__(self, place: Path):
        self.place = place
        self._folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        """What is mapped stays."""
        os.close(self._folder)

    def is_there(self) -> bool:
        """Whether the folder still has its name."""
        try:
            return os.path.samestat(os.stat(self.place), os.fstat(self._folder))
        except OSError:
            return False

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in os.listdir(self._folder)

    def file(self, name: str) -> IO[bytes]:
        """Opens one."""
        return open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=self._folder))

    def check(self, name: str, sums: Sequence[int]) -> None:
        """Raises a ValueError unless the chunks that are looked at have these checksums."""
        with self.file(name) as file:
            size = os.fstat(file.fileno()).st_size
            if -(-size // CHUNK) != len(sums):
                raise ValueError(f"{name} is of {size} bytes, and was of {len(sums)} MiB")
            for number in np.unique(np.linspace(0, max(len(sums) - 1, 0), CHUNKS, dtype=int)) if sums else ():
                file.seek(int(number) * CHUNK)
                if zlib.crc32(file.read(CHUNK)) != sums[number]:
                    raise ValueError(f"{name} is not as it was written")

    def array(self, name: str, kind: Any, rank: int) -> np.ndarray:
        """A .npy file, mapped; raises a ValueError unless it is of a type and rank."""
        with self.file(name) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            if not np.issubdtype(dtype, kind) or len(shape) != rank:
                raise ValueError(f"{name} is not of {kind.__name__} and rank {rank}")
            if 0 in shape:
                return np.zeros(shape, dtype)
            # NumPy's own open_memmap takes paths only.
            order: Any = "F" if fortran else "C"
            return np.asarray(np.memmap(file, dtype, "r", file.tell(), shape, order))

    def bytes(self, name: str, offsets: np.ndarray) -> np.ndarray:
        """A file's bytes, mapped; raises a ValueError unless the offsets of what is in it fit."""
        with self.file(name) as file:
            size = os.fstat(file.fileno()).st_size
            if offsets[0] != 0 or offsets[-1] != size or (np.diff(offsets) < 0).any():
                raise ValueError(f"{name} is of {size} bytes, its offsets end at {offsets[-1]}")
            return np.memmap(file, np.uint8, "r") if size else np.zeros(0, np.uint8)
