"""Importing the package is quick, and leaves the user's process as it was."""

import json
import pkgutil
import subprocess
import sys
import textwrap

import pytest

import cxr_jax

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cxr_jax.__path__, "cxr_jax.")
    if not module.name.endswith("__main__")
)


def in_a_new_process(code: str):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_package_alone_loads_nothing_heavy():
    loaded = in_a_new_process("import cxr_jax, json, sys; print(json.dumps(sorted(sys.modules)))")
    heavy = {"jax", "flax", "orbax", "transformers", "tensorflow_datasets", "matplotlib", "numpy"}
    assert heavy.isdisjoint(loaded)


@pytest.mark.parametrize("module", ["cxr_jax.runtime.run_folder", "cxr_jax.evaluation.text_metrics"])
def test_drawing_and_language_models_are_not_loaded_for_files_and_scores(module):
    loaded = in_a_new_process(f"import {module}, json, sys; print(json.dumps(sorted(sys.modules)))")
    assert {"jax", "transformers", "matplotlib", "matplotlib.pyplot"}.isdisjoint(loaded)


def test_no_module_changes_the_process():
    """What our dependencies do when they are imported is theirs: they are imported first."""
    changed = in_a_new_process(
        f"""
        import atexit, collections.abc, concurrent.futures.process, importlib, json, logging, os, signal, warnings
        import absl.logging, grain, jax, matplotlib, ml_collections, nltk, optax, orbax.checkpoint, tensorflow_datasets
        import huggingface_hub, pyarrow.parquet, rouge_score, sacrebleu, tqdm, transformers, yaml
        from transformers.models.bert import modeling_flax_bert

        def state():
            names = ["", *logging.root.manager.loggerDict]
            loggers = {{name: logging.getLogger(name or None) for name in names}}
            return {{
                "log levels": {{n: (l.level, l.disabled, len(l.handlers)) for n, l in loggers.items() if l.level}},
                "backend": matplotlib.rcParams._get_backend_or_none(),
                "environment": dict(os.environ),
                "signals": [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
                "warnings": len(warnings.filters),
                "registered": issubclass(ml_collections.ConfigDict, collections.abc.Mapping),
                "data sets": sorted(tensorflow_datasets.list_builders(with_community_datasets=False)),
                "at exit": atexit._ncallbacks(),
                "jax": {{k: str(v) for k, v in jax.config.values.items()}},
            }}

        before = state()
        for name in {MODULES!r}:
            importlib.import_module(name)
        after = state()
        print(json.dumps({{key: [before[key], after[key]] for key in before if before[key] != after[key]}}))
        """
    )
    assert changed == {}
