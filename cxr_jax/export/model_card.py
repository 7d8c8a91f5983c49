"""A model card: README.md of an exported model, with what the run says of its data and its scores, and no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxr_jax.errors import InputError
from cxr_jax.evaluation.tables import markdown_table, recall_table, score_remarks, score_table
from cxr_jax.weights.files import listed
from cxr_jax.weights.towers import pretrained_of
from cxr_jax.weights.warm_start import RECORD, takes_tokenizer

TAGS = ("cxr_jax", "jax", "flax", "chest-x-ray", "radiology", "image-text-retrieval", "contrastive-learning")
EXAMPLE_TEXT = "No pleural effusion."


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    `config`: resolved. `pairs`, `studies`: of the training split. `parameters`: numbers in the weights, BatchNorm's
    statistics among them. `metrics`: eval/test/metrics.json, None where there is none of this checkpoint. `example`:
    EXAMPLE_TEXT's token ids and the padding's, where the StableHLO is in the folder.
    """

    config: Mapping[str, Any]
    version: str
    step: int
    parameters: int
    pairs: int
    studies: int
    metrics: Mapping[str, Any] | None
    licence: str
    with_index: bool
    example: tuple[Sequence[int], int] | None


def model_card(facts: Facts) -> str:
    """The card in Markdown, its front matter in YAML."""
    sections = {
        "Data": _data(facts),
        "Scores": _scores(facts),
        "Intended use and limits": _limits(facts),
        "In this folder": _contents(facts),
        "Use": _use(facts),
        "Licence": _licence(facts.licence),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{_front_matter(facts)}\n# {facts.config['data']['description']}\n\n{_opening(facts)}\n\n{body}\n"


def _front_matter(facts: Facts) -> str:
    lines = [f'license: "{facts.licence}"', "library_name: cxr_jax", "pipeline_tag: image-feature-extraction"]
    lines += ["tags:", *(f"- {tag}" for tag in TAGS)]
    return "\n".join(("---", *lines, "---", ""))


def _opening(facts: Facts) -> str:
    config = facts.config
    side, words, width = config["image_size"], config["text"]["max_tokens"], config["embed_dim"]
    return (
        "Chest X-rays and radiology reports in one embedding space, learnt by contrast as in Ur Rahman, Lee and Kim, "
        "*Leveraging Contrastive Learning and Domain Prompts for Efficient Radiology Report Generation* (2025). A "
        f"grey image of {side} by {side} pixels and a text of up to {words} tokens each become {width} numbers of unit "
        f"norm. {facts.parameters:,} weights, of step {facts.step}, the best on validation; trained and exported with "
        f"cxr_jax {facts.version}. Generation is by retrieval: an image's report is the training report nearest to it."
    )


def _data(facts: Facts) -> str:
    config, data = facts.config, facts.config["data"]
    began = "; ".join(
        f"the {tower} tower began from {pretrained_of(config, tower) or 'random weights'}"
        for tower in ("image", "text")
    )
    if taken := config.get(RECORD):
        began = f"it began from the model {config['init_from']} at its step {taken['step']}"
        if taken["left_out"]:
            began += f", less {listed(taken['left_out'])}"
    rows = [
        ["data set", data["description"]],
        ["fingerprint", data["fingerprint"]],
        ["split by", f"{data['split_used']}, seed {data['seed']}"],
        ["report section", data["section"]],
        ["view", data["view"]],
        ["trained on", f"{facts.pairs:,} images of {facts.studies:,} studies"],
    ]
    drawn = "\n\nThe images are drawn, not taken of patients: nothing here speaks of patients." if _drawn(data) else ""
    return f"{markdown_table(['', ''], rows)}\n\n{began[0].upper()}{began[1:]}.{drawn}"


def _scores(facts: Facts) -> str:
    metrics = facts.metrics
    if metrics is None:
        return "This checkpoint was not evaluated on a test split: how good it is is not known."
    try:
        scores, recall = (markdown_table(*table(metrics)) for table in (score_table, recall_table))
        tables = "\n\n".join([scores, *score_remarks(metrics), recall])
        where = (
            f"{metrics['dataset']}, split by {metrics['data_split']}: {metrics['split']} split, {metrics['n']} images, "
            f"protocol {metrics['protocol']}"
        )
    except (KeyError, TypeError) as error:
        raise InputError(
            f"eval/test/metrics.json: lacks {error}, which this version writes; score the run again with "
            "python -m cxr_jax.evaluate --workdir DIR"
        ) from error
    return (
        f"{where}. Intervals are 95 % bootstrap ones. Floors never look at the image; the ceiling is retrieval that "
        f"knows the true report.\n\n{tables}"
    )


def _limits(facts: Facts) -> str:
    given = pretrained_of(facts.config, "text") or takes_tokenizer(facts.config)
    learnt = "" if given else " The vocabulary was learnt from the training reports' words."
    return (
        "For research: embedding, retrieval and comparison of chest X-rays and reports. **Not a medical device**: it "
        "is not for diagnosis, triage or any decision on a patient's care, and nobody has tested it for that.\n\n"
        "It knows one data set's hospitals, devices, patients and language; how it does elsewhere, or on groups of "
        "patients that are rare there, was not measured. A retrieved report was written about another patient: what "
        "it says of sides, sizes, devices and comparisons with earlier images need not hold. Nearness in the "
        f"embedding is no probability.{learnt}"
    )


def _contents(facts: Facts) -> str:
    pool = (
        f"**The training reports and thumbnails of {facts.studies:,} studies are in this folder** (`index/`), as the "
        "pool to retrieve from. They come from patients unless the data are drawn: give them to nobody whom the data "
        "set's terms do not cover."
        if facts.with_index
        else "No training report and no image is in this folder, so that `retrieve` has no pool; exported from its run "
        "with `--with_index`, the model brings it along."
    )
    hlo = "" if facts.example is None else ", `*.stablehlo` (both encoders' computation)"
    return (
        "`model.safetensors` (all parameters and BatchNorm statistics, float32), `config.json` (the run's "
        "configuration; paths of the machine that trained it are left out), the tokenizer's files"
        f"{hlo}. Nothing is pickled.\n\n{pool}"
    )


def _use(facts: Facts) -> str:
    retrieve = 'model.retrieve("a.png", top_k=3)  # the nearest training reports\n' if facts.with_index else ""
    package = (
        "```python\nimport cxr_jax\n\n"
        "model = cxr_jax.load(FOLDER)  # this folder, or its name on the hub\n"
        'z_v = model.encode_image(["a.png"])\n'
        f'z_t = model.encode_text(["{EXAMPLE_TEXT}"])\n'
        f"similarity = z_v @ z_t.T\n{retrieve}```"
    )
    if facts.example is None:
        return package
    ids, padding = facts.example
    side, words = facts.config["image_size"], facts.config["text"]["max_tokens"]
    bare = (
        "```python\nimport jax, jax.export\nimport numpy as np\nfrom safetensors.numpy import load_file\n\n"
        'weights = load_file("model.safetensors")\n'
        'files = [open(f"{side}_encoder.stablehlo", "rb") for side in ("image", "text")]\n'
        "encode_image, encode_text = (jax.jit(jax.export.deserialize(file.read()).call) for file in files)\n"
        f"images = np.zeros((1, {side}, {side}, 1), np.uint8)\n"
        f'ids = {list(ids)}  # "{EXAMPLE_TEXT}"\n'
        f"token_ids = np.full((1, {words}), {padding}, np.int32)\n"
        "token_ids[0, : len(ids)] = ids\n"
        f"token_mask = (np.arange({words}) < len(ids)).astype(np.int32)[None]\n"
        "z_v, z_t = encode_image(weights, images), encode_text(weights, token_ids, token_mask)\n```"
    )
    return (
        f"{package}\n\nWithout this package, on CPU, CUDA or TPU, any number of images or texts at a time "
        f"(`pip install jax flatbuffers safetensors`):\n\n{bare}\n\n"
        f"An image is grey, 8 bits, its longer side scaled to {side} (bilinear) and the rest filled with black, the "
        f"image in the middle. A text is what `tokenizer.json` makes of it, [CLS] and [SEP] included, cut to {words}."
    )


def _licence(licence: str) -> str:
    given = (
        "No licence is given with these weights."
        if licence == "other"
        else f"Whoever exported these weights put them under `{licence}`."
    )
    return (
        f"{given} The terms of the data that they were trained on bind as well (IU X-ray: Open-i's; MIMIC-CXR: "
        "PhysioNet's credentialed use agreement, which does not let everyone share what is derived from it), and so "
        "do those of pretrained weights. The package cxr_jax is under Apache-2.0."
    )


def _drawn(data: Mapping[str, Any]) -> bool:
    return "drawn" in data["description"]
