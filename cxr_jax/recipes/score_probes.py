"""What scores see of side and negation, and whether a run's model does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cxr_jax
from cxr_jax.evaluation import predictions, probes, scoring
from cxr_jax.evaluation.floors import Pool
from cxr_jax.files import write_json
from cxr_jax.recipes.external_opened import open_set
from cxr_jax.recipes.external_reports import answered
from cxr_jax.recipes.external_set import Options
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.search import neighbours_of
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.runtime import parallel
from cxr_jax.runtime.run_folder import RunFolder


def probe_annotation(annotation: str, split: str = "test", protocol: str = "r2gen") -> None:
    """Prints what each score loses when the reports of R2Gen's split, and of what answers them, are perturbed.

    Raises:
      InputError: the file cannot be read, or is not in R2Gen's form.
    """
    pool, reports = predictions.read_annotation(Path(annotation), split)
    references = list(reports.values())
    results = probes.probe_scores(references, probes.probed_systems(references, None, pool, protocol), pool, protocol)
    print(f"{annotation}: {split} split, {len(references)} reports, protocol {protocol}\n")
    print(probes.text_of(results))


def probe_split(workdir: str | Path, split: str = "test", protocol: str = "r2gen") -> Path:
    """The same of a run, whose model is probed as well; writes `eval/<split>/probes.json`, which it returns.

    Raises:
      InputError: the folder holds no finished run, or the run no such split.
    """
    run = RunFolder(workdir)
    config = run.load_config()
    query, train, val = (SplitIndex.load(run.index, name) for name in (split, "train", "val"))
    _, rows = neighbours_of(query, train, 1)
    parallel.cache_compilations(Path(config["data"]["cache"]).expanduser() / "compiled")
    model = cxr_jax.load(workdir)
    query.check_checkpoint(model.pool.step, model.pool.checkpoint, "the model")
    pool = scoring.pool_of(train, val)
    references, patients = ([getattr(row, name) for row in query.rows] for name in ("report", "patient_id"))
    answers = [train.rows[line[0]].report for line in rows]
    data = f"{config['data']['description']}, split by {config['data']['split_used']}: {split} split"
    head = {"split": split, "step": query.step, "protocol": protocol, "n": len(query)}
    return _probe(run.evaluation(split), data, head, model, query.image_embeddings, references, answers, patients, pool)


def probe_external(options: Options) -> Path:
    """The same of a set from elsewhere, of its images that have a report; writes `eval/NAME/probes.json`.

    Raises:
      InputError: as `open_set`; or the set has no report, or the model no pool to answer from.
    """
    opened = open_set(options, "--probes")
    embedded, model = opened.embedded, opened.model
    assert embedded.pool is not None  # checked before the model was loaded
    _, rows = neighbours_of(embedded.query, embedded.pool, 1)
    of = answered(opened.run, embedded.query, embedded.pool, rows[:, 0], options.pool)
    head = embedded.facts | {"protocol": options.protocol, "n": len(of.query)}
    data, images = embedded.facts["dataset"], of.query.image_embeddings
    return _probe(opened.folder, data, head, model, images, of.references, of.predictions, of.patients, of.pool)


def _probe(
    folder: Path,
    data: str,
    head: Mapping[str, Any],
    model: Model,
    images: np.ndarray,
    references: Sequence[str],
    answers: Sequence[str],
    patients: Sequence[str],
    pool: Pool,
) -> Path:
    """Probes the scores of references and answers, and what the model prefers; prints both, and writes probes.json."""
    protocol = head["protocol"]
    systems = probes.probed_systems(references, answers, pool, protocol)
    results = probes.probe_scores(references, systems, pool, protocol, patients)
    preferred = probes.preferences(images, references, model.encode_text, patients)
    print(f"{data}, {len(references)} images of {len(set(patients))} patients, protocol {protocol}\n")
    print(probes.text_of(results, preferred))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "probes.json", {**head, "scores": results, "model": preferred})
    print(f"\nprobes: {folder / 'probes.json'}")
    return folder / "probes.json"
