"""A run with random weights and its index, and radiographs that it has not seen. Trained ones are in test_train.py."""

import jax
import numpy as np
import pytest

import cxr_jax
from cxr_jax.data import images
from cxr_jax.data.reports import group_ids
from cxr_jax.models.dual_encoder import build_model, init_variables
from cxr_jax.phantom.drawing import draw_study
from cxr_jax.recipes import external_opened
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.rows import Row
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime.run_folder import RunFolder
from cxr_jax.training.checkpoint import identity
from cxr_jax.weights.tokenizer import tokenizer_of
from tests.tiny import tiny_resolved

REPORTS = [f"finding number {i % 5} is {'large' if i % 2 else 'small'} ." for i in range(32)]
STEP = 3


@pytest.fixture(scope="session")
def bare() -> Model:
    """The model without a pool."""
    config = tiny_resolved()
    config["data"] |= {"description": "drawn", "split_used": "paper", "view": "frontal", "section": "findings"}
    tokenizer = tokenizer_of(config, REPORTS)
    config["text"]["bert"]["vocab_size"] = len(tokenizer)
    variables = init_variables(build_model(config), jax.random.key(0), config["image_size"])
    return Model(config, variables, tokenizer, None)


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    return [draw_study((), [3, number], 48)[0] for number in range(24)]


@pytest.fixture(scope="session")
def run(bare, pictures, tmp_path_factory) -> RunFolder:
    """24 images of train, and of val again the same with masses in every third, one side or the other."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    run.start(bare.config)
    z_v = bare.encode_image(pictures)
    for name, first in (("train", 0), ("val", 100)):
        reports = REPORTS[: len(pictures)]
        rows = [
            Row(
                f"i{first + i}",
                f"CXR{first + i}",
                f"P{first + i}",
                report,
                ("Mass/left",) if i % 3 == 0 else (),
                int(g),
            )
            for i, (report, g) in enumerate(zip(reports, group_ids(reports), strict=True))
        ]
        thumbnails = [images.thumbnail(picture) for picture in pictures]
        z_t, checkpoint = bare.encode_text(reports), identity(bare.variables)
        SplitIndex(name, STEP, rows, z_v, z_t, thumbnails, checkpoint=checkpoint).save(run.index)
    return run


@pytest.fixture(autouse=True)
def loaded(bare, run, monkeypatch) -> None:
    """`cxr_jax.load` of the run, and of all else without a pool, compiles once."""
    model = Model(bare.config, bare.variables, bare.tokenizer, SplitIndex.load(run.index, "train"))
    model._encode = bare._encode
    monkeypatch.setattr(cxr_jax, "load", lambda workdir: model if str(workdir) == str(run.root) else bare)
    # Process-wide, and conftest's stays in use.
    monkeypatch.setattr(external_opened.parallel, "cache_compilations", lambda folder: None)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with 0.png to 15.png."""
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(16):
        (folder / f"{number}.png").write_bytes(images.encode_png(draw_study((), [7, number], 48)[0]))
    return folder
