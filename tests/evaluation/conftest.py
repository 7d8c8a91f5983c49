import json

import numpy as np
import pytest

from cxr_jax.evaluation.ceiling import nearest_by_text
from cxr_jax.evaluation.floors import best_constant
from cxr_jax.evaluation.protocols import report_preparers
from tests.evaluation.runs import make_run


@pytest.fixture(scope="session")
def systems(shared):
    """References and several systems' predictions on R2Gen's test split, prepared by its protocol."""
    annotation = json.loads((shared / "data/iu_xray/r2gen_annotation.json").read_text())
    train, val, test = ([entry["report"] for entry in annotation[name]] for name in ("train", "val", "test"))
    prepare_reference, prepare_prediction = report_preparers("r2gen", train)
    pool, references = list(map(prepare_prediction, train)), list(map(prepare_reference, test))
    drawn = np.random.default_rng(0).integers(len(pool), size=len(references))
    constant = best_constant(pool, list(map(prepare_reference, val)))
    return references, {
        "constant": [constant] * len(references),
        "random": [pool[i] for i in drawn],
        "nearest": [pool[i] for i in nearest_by_text(test, train)],
    }


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    good = [make_run(root / f"good{seed}", seed=seed) for seed in range(3)]
    bad = [make_run(root / f"bad{s}", 1.5, s, **{"image.spatial_attention": "false"}) for s in range(2)]
    return good, bad
