"""cxr_jax: chest X-rays and radiology reports in one embedding space, and reports by retrieval."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxr_jax.retrieval.model import Model

__version__ = "0.1.0"


def load(workdir: str | Path) -> "Model":
    """The `cxr_jax.retrieval.model.Model` of a run's folder, of an export's, or of an export on the hub.

    Raises:
      cxr_jax.errors.InputError: there is neither, or the run is unfinished, or a file is damaged.
    """
    from cxr_jax.export import folder  # late: `import cxr_jax` alone stays quick

    return folder.load(workdir)
