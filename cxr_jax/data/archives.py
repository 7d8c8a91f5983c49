"""Reading tar archives that somebody else made: in memory or below one folder, under names and sizes that we choose."""

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from cxr_jax.errors import InputError
from cxr_jax.files import whole

HEADER_BYTES = 1 << 20  # what may stand between one file's bytes and the next's: headers, long names, padding
MAX_MEMBERS = 100_000
REPORT_NAME = re.compile(r"[0-9]+\.xml")
IMAGE_NAME = re.compile(r"[A-Za-z0-9][\w.-]*\.png", re.ASCII)


class _Metered:
    """A stream that gives out at most `left` bytes before it is refilled: a bomb is noticed before it is unpacked."""

    def __init__(self, stream: gzip.GzipFile, archive: Path):
        self.stream, self.archive, self.left = stream, archive, HEADER_BYTES

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise InputError(f"{self.archive}: holds a header that is larger than any file in it; download it again")
        return self.stream.read(size)


def members(archive: Path, name: re.Pattern[str], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """The base name and the bytes of each plain file of a .tgz whose base name is `name`, in the archive's order.

    The folders of a name are dropped, so no name leads anywhere. Folders, links, and what tarfile's data filter (PEP
    706) refuses, such as devices, are passed over. Nothing is written.

    Args:
      max_bytes: of one file.

    Raises:
      InputError: the archive is damaged or cut short, a file is larger, a name comes twice, or there is no such file.
    """
    seen: set[str] = set()
    try:
        with gzip.open(archive) as unpacked:
            stream = _Metered(unpacked, archive)
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                for count, member in enumerate(tar):
                    if not 0 <= member.size <= max_bytes or count >= MAX_MEMBERS:
                        raise InputError(
                            f"{archive}: {os.path.basename(member.name)!r} is said to have {member.size:,} bytes, as "
                            f"file {count + 1:,}; at most {max_bytes:,} and {MAX_MEMBERS:,} are read; download it again"
                        )
                    stream.left = member.size + HEADER_BYTES
                    base = os.path.basename(member.name)
                    if not name.fullmatch(base) or not _is_plain(member.replace(name=base, deep=False), archive):
                        continue
                    content = tar.extractfile(member)
                    assert content is not None
                    if base in seen:
                        raise InputError(f"{archive}: holds {base} twice; download it again")
                    seen.add(base)
                    yield base, content.read()
            while unpacked.read(1 << 20):  # to the checksum, which stands at the very end
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{archive}: damaged or cut short ({error}); download it again") from error
    if not seen:
        raise InputError(f"{archive}: holds no file called {name.pattern}; download it again")


def _is_plain(member: tarfile.TarInfo, archive: Path) -> bool:
    """Whether it is data and nothing else; the filter lets pass folders, and links that stay within."""
    try:
        return tarfile.data_filter(member, str(archive.parent)).isreg()
    except (tarfile.FilterError, ValueError):  # a link's target may hold what no path can
        return False


def unpack(archive: Path, name: re.Pattern[str], max_bytes: int, max_total: int, folder: Path) -> Path:
    """`members` written to `folder`, once: the folder appears when all of it is there.

    Raises:
      InputError: as `members`, or all files together are larger than `max_total`, or the disk is full.
    """
    if folder.is_dir():
        return folder
    total = 0
    try:
        with whole(folder) as part:
            part.mkdir(parents=True)
            for base, content in tqdm(
                members(archive, name, max_bytes),
                desc=f"unpacking {archive.name}",
                unit="file",
                leave=False,
                disable=None,
            ):
                total += len(content)
                if total > max_total:
                    raise InputError(f"{archive}: unpacks to more than {max_total:,} bytes; download it again")
                (part / base).write_bytes(content)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); change data.cache or make room") from error
    return folder


def checksum(archive: Path) -> bytes:
    """The last 8 bytes of a .tgz: CRC and length of what it unpacks to, as gzip wrote them."""
    with archive.open("rb") as file:
        file.seek(-min(8, archive.stat().st_size), os.SEEK_END)
        return file.read()
