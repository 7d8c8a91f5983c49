"""Open-i's two archives from where Open-i publishes them, where a network allows and only when asked to."""

import shutil
import tempfile
from pathlib import Path

import tensorflow_datasets as tfds

from cxr_jax.data.sources.openi_release import ARCHIVES, is_here
from cxr_jax.errors import InputError

COLLECTIONS = "https://openi.nlm.nih.gov/imgs/collections"


def fetch_release(folder: Path) -> None:
    """Downloads what of the release is not in `folder` yet, by TFDS's download manager: 14 GB, nearly all of it images.

    An archive appears under its own name when all of it is there; a broken-off download leaves nothing behind. Open-i
    publishes no checksums: gzip's own are held against what an archive unpacks to when it is read.

    Raises:
      InputError: there is no network, the server refuses, the answer is cut short, or the folder cannot be written.
    """
    for name, archive in ARCHIVES.items():
        if is_here(folder, name):
            continue
        url = f"{COLLECTIONS}/{archive}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
                manager = tfds.download.DownloadManager(download_dir=temporary)
                shutil.move(manager.download(url), folder / archive)
        except (OSError, tfds.download.DownloadError) as error:  # requests' errors are OSErrors
            reason = " ".join(str(error).split())
            raise InputError(
                f"{url}: cannot be downloaded ({reason}); fetch it by other means and put it into {folder}"
            ) from error
