"""Where the images lie that a table names: by path below a folder, or by name anywhere below it."""

import os
import posixpath
from functools import cached_property
from pathlib import Path, PurePosixPath

from cxr_jax.data import images
from cxr_jax.errors import InputError


class ImageFiles:
    """The files below a folder, to be found by what a table calls them.

    Args:
      root: the table's folder, or another.
    """

    def __init__(self, root: Path):
        self.root = Path(os.path.abspath(root.expanduser()))

    def find(self, name: str) -> Path:
        """The file that `name` stands for.

        It is a path from the root, or from the folder above it (as CheXpert's, which begin with the root's own name);
        else the end of one file's path somewhere below the root, its suffix left out or not. Where nothing is found it
        is the path from the root, which cannot be read.

        Raises:
          InputError: several files below the root end in it.
        """
        plain = name if (self.root / name).exists() else name.replace("\\", "/")
        for folder in (self.root, self.root.parent):
            if (folder / plain).is_file():
                return Path(os.path.normpath(folder / plain))
        parts = PurePosixPath(plain).parts
        found = [
            file
            for file in self._by_stem.get(without_suffix(parts[-1]), ())
            if parts[-1] in (file.name, without_suffix(file.name)) and file.parts[-len(parts) : -1] == parts[:-1]
        ]
        if len(found) > 1:
            raise InputError(
                f"{self.root}: holds {len(found)} files {name} ({found[0]}, {found[1]}); name the folder of the right "
                "ones by --images"
            )
        return found[0] if found else self.root / plain

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        files: dict[str, list[Path]] = {}
        for parent, inner, names in os.walk(self.root):
            inner[:] = [name for name in inner if not name.startswith(".")]
            for name in names:
                if not name.startswith("."):
                    files.setdefault(without_suffix(name), []).append(Path(parent, name))
        return files


def plain_path(name: str) -> str:
    """A path as all of its spellings have it: "./a//b.png" and, as Windows has it, "a\\b.png" are "a/b.png"."""
    return posixpath.normpath(name.replace("\\", "/"))


def without_suffix(name: str) -> str:
    """A file's name or path without a suffix that images have; a UID's last number is none."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (*images.SUFFIXES, ".dicom") else name
