"""The package's layers, read from its import statements: a module imports only from modules above it in LAYERS."""

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cxr_jax"
LAYERS = [
    "errors", "config", "hub", "types", "losses",
    "models.densenet", "models.vision", "models.text", "models.dual_encoder",
    "models.weight_files", "models.pretrained_bert", "models.densenet_names", "models.pretrained_densenet",
    "models",
    "data.annotation",
    "data.dicom", "data.images", "data.reports", "data.records", "data.archives", "data.views", "data.splits",
    "data.release", "data.phantom_reports", "data.phantom_drawing", "data.phantom", "data.published", "data.r2gen",
    "data.mimic_tables", "data.mimic_reports", "data.mimic",
    "data.download", "data.openi", "data.pairs", "data.pipeline", "data",
    "towers", "optim", "parallel", "train_step", "checkpoint", "index",
    "evaluation.bootstrap", "evaluation.label_phrases", "evaluation.labels", "evaluation.label_csv",
    "evaluation.finding_metrics", "evaluation.meteor", "evaluation.meteor_jar", "evaluation.text_metrics",
    "evaluation.retrieval_metrics", "evaluation.baselines", "evaluation.ceiling", "evaluation.zero_shot_prompts",
    "evaluation.zero_shot", "evaluation.agreement", "evaluation.tables", "evaluation.charts",
    "evaluation.page_cases", "evaluation.page", "evaluation.evaluate", "evaluation.outside", "evaluation",
    "workdir", "export_folder", "inference", "zero_shot", "train", "retrieve", "ablation", "audit", "__init__",
    "model_card", "stablehlo", "export",
]  # fmt: skip
ACCELERATED = {"jax", "jaxlib", "flax", "optax", "orbax"}
DEVICE_NAMES = {"pmap", "devices", "device_count", "local_devices", "local_device_count"}


def name_of(file: Path) -> str:
    """`losses`, `models.text`; a package by its own name, the top one as `__init__`."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(file): ast.parse(file.read_text("utf-8"), str(file)) for file in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> set[str]:
    """All that a module imports, anywhere in it, by full name; `from a import b` is a.b where that is our module."""
    found: set[str] = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"cxr_jax.{name} has a relative import; write it in full"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = {full for full in whole if full.removeprefix("cxr_jax.") in MODULES and full.startswith("cxr_jax.")}
            found |= ours | ({node.module} if len(ours) < len(whole) else set())
    return found


def own_imports(name: str) -> set[str]:
    full = {module for module in imports(name) if module.split(".")[0] == "cxr_jax"}
    return {"__init__" if module == "cxr_jax" else module.removeprefix("cxr_jax.") for module in full}


def foreign_imports(name: str) -> set[str]:
    return {module.split(".")[0] for module in imports(name)} - {"cxr_jax"}


def test_every_module_has_its_place():
    lost = MODULES.keys() - set(LAYERS)
    assert not lost, f"{sorted(lost)}: in no layer; put each below all that it imports, in LAYERS and in DESIGN's list"


@pytest.mark.parametrize("name", MODULES)
def test_imports_come_from_above(name):
    if name not in LAYERS:
        pytest.fail(f"cxr_jax.{name} is in no layer; add it to LAYERS")
    above = set(LAYERS[: LAYERS.index(name)])
    wrong = own_imports(name) - above
    assert not wrong, f"cxr_jax.{name} imports {sorted(wrong)}, which LAYERS does not put above it"


@pytest.mark.parametrize("name", [name for name in MODULES if fnmatch(name, "data*")])
def test_data_never_imports_jax(name):
    """Nor through a module of ours: worker processes import these, and must not start an accelerator."""
    seen, todo = set(), {name}
    while todo:
        module = todo.pop()
        seen.add(module)
        heavy = foreign_imports(module) & ACCELERATED
        assert not heavy, f"cxr_jax.{name} imports {sorted(heavy)}, by way of cxr_jax.{module}"
        todo |= own_imports(module) - seen


@pytest.mark.parametrize("name", [name for name in MODULES if fnmatch(name, "evaluation*")])
def test_evaluation_never_imports_jax(name):
    heavy = foreign_imports(name) & ACCELERATED
    assert not heavy, f"cxr_jax.{name} imports {sorted(heavy)}"


def test_only_checkpoint_imports_orbax():
    assert {name for name in MODULES if "orbax" in foreign_imports(name)} <= {"checkpoint"}


def test_only_parallel_knows_how_many_devices_there_are():
    users = set()
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            on_jax = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jax"
            from_jax = isinstance(node, ast.ImportFrom) and node.module == "jax"
            named = {node.attr} if on_jax else {alias.name for alias in node.names} if from_jax else set()
            users |= {name} if named & DEVICE_NAMES else set()
    assert users <= {"parallel"}
