"""Where a pretrained model comes from: a folder, or the hub where this machine reaches it."""

import functools
import os
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import get_session

from cxr_jax.errors import InputError

TIMEOUT = 5  # seconds


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
