"""What scores see of side and negation, and whether a run's model does."""

from pathlib import Path

import cxr_jax
from cxr_jax.evaluation import predictions, probes, scoring
from cxr_jax.files import write_json
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
    systems = probes.probed_systems(references, answers, pool, protocol)
    results = probes.probe_scores(references, systems, pool, protocol, patients)
    preferred = probes.preferences(query.image_embeddings, references, model.encode_text, patients)
    data = f"{config['data']['description']}, split by {config['data']['split_used']}"
    print(f"{data}: {split} split, {len(query)} images of {len(set(patients))} patients, protocol {protocol}\n")
    print(probes.text_of(results, preferred))
    folder = run.evaluation(split)
    folder.mkdir(parents=True, exist_ok=True)
    head = {"split": split, "step": query.step, "protocol": protocol, "n": len(query)}
    write_json(folder / "probes.json", {**head, "scores": results, "model": preferred})
    print(f"\nprobes: {folder / 'probes.json'}")
    return folder / "probes.json"
