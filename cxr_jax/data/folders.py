"""The images below a folder, however deep, by their names or, where those say nothing, by what they begin with."""

import os
from pathlib import Path

from cxr_jax.data import dicom, images

BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")
DIRECTORY = "DICOMDIR"  # a medium's table of contents (PS3.10 8.6), DICOM without an image


def image_files(folder: Path) -> list[Path]:
    """The image files below `folder`, sorted; hidden ones are passed over, and links to folders not followed."""
    files = []
    for parent, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        files += [Path(parent, name) for name in names if not name.startswith(".") and name.upper() != DIRECTORY]
    return sorted(file for file in files if file.is_file() and _is_image(file))


def _is_image(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in images.SUFFIXES:
        return True
    # Many DICOM files are called by their UIDs, so that what looks like a suffix is a number.
    if suffix and not suffix[1:].isdigit():
        return False
    try:
        with file.open("rb") as stream:
            head = stream.read(12)
    except OSError:
        return False
    return head.startswith(BEGINNINGS) or (head[:4] == b"RIFF" and head[8:] == b"WEBP") or dicom.is_dicom(file)
