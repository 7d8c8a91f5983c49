"""Where a model comes from: a folder, or the hub where this machine reaches it."""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.utils import get_session

from cxr_jax.errors import InputError

TIMEOUT = 5  # seconds
MODEL_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")  # OWNER/NAME


def locate(name: str | Path, key: str = "text.pretrained") -> tuple[str, bool]:
    """A model's folder or hub name, and whether transformers may look at this machine's files only.

    Raises:
      InputError: `name`, which the configuration key gave, reads as a path, and there is no such folder.
    """
    path = os.path.expanduser(name)
    if Path(path).is_dir():
        return path, True
    # A hub name is NAME or OWNER/NAME.
    if path.startswith((".", "/")) or path.count("/") > 1 or Path(path).exists():
        raise InputError(f"{key} = {name}: there is no such folder; give the model's folder or its hub name")
    return path, not reachable()


def fetch(name: str | Path, files: Sequence[str]) -> Path:
    """The folder of a model: `name` itself, or those of a hub model's files that the patterns match.

    Raises:
      InputError: `name` is no folder but reads as a model on the hub, and cannot be had from there.
    """
    folder = Path(name).expanduser()
    if folder.exists() or not MODEL_NAME.fullmatch(str(name)):
        return folder
    local = not reachable()
    try:
        return Path(snapshot_download(str(name), allow_patterns=list(files), local_files_only=local))
    except Exception as error:  # the hub's client raises a dozen kinds
        why = "the hub cannot be reached" if local else "the hub does not give such a model"
        raise InputError(
            f"{name}: there is no such folder, and {why}; name the folder of a run or of an export"
        ) from error


@functools.cache
def reachable() -> bool:
    """Whether the hub answers; its client would ask a dead network six times for each file, for minutes."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception:  # of whichever HTTP library the client is built on
        return False
    return True
