import json
import re
import shutil
import subprocess
import sys

import flax
import jax
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict
from transformers import BertConfig, FlaxBertModel

from cxr_jax import hub
from cxr_jax.errors import InputError
from cxr_jax.models import pretrained_bert as pretrained
from cxr_jax.models.text import TextEncoder

FIELDS = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "layer_norm_eps": 1e-5,
}
TOKEN_IDS = np.random.default_rng(0).integers(1, 40, (3, 9), np.int32)
TOKEN_MASK = np.array([[1] * 9, [1] * 5 + [0] * 4, [1] + [0] * 8], np.int32)


@pytest.fixture(scope="module")
def bert():
    """A small BERT of transformers' own, with random weights everywhere (fresh biases would be 0)."""
    model = FlaxBertModel(BertConfig(**FIELDS), _do_init=False)
    rng = np.random.default_rng(1)
    model._is_initialized = True
    model.params = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), model.params_shape_tree)
    return model


@pytest.fixture(scope="module")
def wanted(bert):
    return {name: value for name, value in bert.params.items() if name != "pooler"}


def torch_weights(params, prefix="", gamma=False):
    """Flax's tree under torch's names, in torch's layout."""
    weights = {}
    for key, value in flatten_dict(params, sep=".").items():
        *module, leaf = key.split(".")
        if leaf == "kernel":
            value = np.ascontiguousarray(value.T)
        leaf = {"kernel": "weight", "embedding": "weight", "scale": "weight"}.get(leaf, leaf)
        if gamma and module[-1] == "LayerNorm":
            leaf = {"weight": "gamma", "bias": "beta"}[leaf]
        weights[prefix + ".".join([*module, leaf])] = value
    return weights


def write(folder, weights=None, **config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **FIELDS, **config}))
    if weights is not None:
        safetensors.numpy.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def assert_equal(loaded, expected):
    loaded, expected = flatten_dict(loaded, sep="/"), flatten_dict(expected, sep="/")
    assert loaded.keys() == expected.keys()
    for name, value in expected.items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)


def hidden_states(params, token_ids=TOKEN_IDS, token_mask=TOKEN_MASK, fields=FIELDS):
    """Our encoder's, without prompts."""
    encoder = TextEncoder(BertConfig(**fields), num_prompts=0)

    def run(encoder):
        E = encoder.bert_module.embeddings.word_embeddings(token_ids)
        return encoder.contextualize(E, token_mask)[0]

    return encoder.apply({"params": {"bert": params}}, method=run)


@pytest.mark.parametrize("gamma", [False, True])
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_safetensors_under_torchs_names(tmp_path, bert, wanted, prefix, gamma):
    weights = torch_weights(bert.params, prefix, gamma)  # with the pooler's
    weights[f"{prefix}embeddings.position_ids"] = np.arange(20)[None]
    weights["cls.predictions.bias"] = np.ones(40, np.float32)
    weights["cls.predictions.transform.LayerNorm.weight"] = np.ones(16, np.float32)
    weights["cls.seq_relationship.weight"] = np.ones((2, 16), np.float32)
    assert_equal(pretrained.load_bert(write(tmp_path, weights), wanted), wanted)


def test_half_precision_becomes_float32(tmp_path, bert, wanted):
    half = {name: value.astype(np.float16) for name, value in torch_weights(bert.params).items()}
    expected = jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), wanted)
    assert_equal(pretrained.load_bert(write(tmp_path, half), wanted), expected)


@pytest.mark.parametrize("prefix", [False, True])
def test_flax_msgpack(tmp_path, bert, wanted, prefix):
    folder = write(tmp_path)
    tree = {"bert": bert.params, "cls": {"predictions": {"bias": np.ones(40)}}} if prefix else bert.params
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes(tree))
    assert_equal(pretrained.load_bert(folder, wanted), wanted)


@pytest.mark.parametrize("form", ["safetensors", "msgpack"])
def test_the_encoder_computes_what_transformers_computes(tmp_path, bert, wanted, form):
    if form == "safetensors":
        folder = write(tmp_path, torch_weights(bert.params))
    else:
        bert.save_pretrained(tmp_path)
        folder = str(tmp_path)
    theirs = FlaxBertModel.from_pretrained(folder, local_files_only=True)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), wanted)
    ours = pretrained.load_bert(folder, shapes)
    fields = pretrained.load_bert_config(folder)
    expected = theirs(TOKEN_IDS, TOKEN_MASK).last_hidden_state
    np.testing.assert_allclose(hidden_states(ours, fields=fields), expected, atol=1e-5)


def test_minilm(shared):
    folder = str(shared / "data" / "minilm")
    fields = pretrained.load_bert_config(folder)
    assert (fields["hidden_size"], fields["num_hidden_layers"], fields["layer_norm_eps"]) == (384, 6, 1e-12)
    theirs = FlaxBertModel.from_pretrained(folder, local_files_only=True)
    ours = pretrained.load_bert(folder, {name: value for name, value in theirs.params.items() if name != "pooler"})
    assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {np.dtype(np.float32)}
    token_ids = np.random.default_rng(0).integers(1000, 30000, TOKEN_IDS.shape, np.int32)
    # Under jit: op by op, both take ten times as long.
    expected = np.asarray(jax.jit(lambda p: theirs(token_ids, TOKEN_MASK, params=p).last_hidden_state)(theirs.params))
    found = np.asarray(jax.jit(lambda p: hidden_states(p, token_ids, fields=fields))(ours))
    real = TOKEN_MASK > 0
    np.testing.assert_allclose(found[real], expected[real], atol=1e-5)


# Configurations


def test_a_configuration_is_completed_and_cut_to_its_fields(tmp_path):
    fields = pretrained.load_bert_config(write(tmp_path, id2label={"0": "x"}, torch_dtype="float16"))
    assert tuple(fields) == pretrained.BERT_FIELDS
    assert {name: fields[name] for name in FIELDS} == FIELDS
    assert fields["hidden_act"] == "gelu"
    assert pretrained.complete_bert_config(fields) == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hiden_size": 32}, r"text\.bert: there is no field hiden_size"),
        ({"hidden_size": 30, "num_attention_heads": 4}, r"hidden_size = 30 is no multiple of num_attention_heads = 4"),
    ],
)
def test_configurations_that_make_no_network_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        pretrained.complete_bert_config(fields)


def test_biobert_is_as_large_as_the_paper_says(shared):
    fields = pretrained.load_bert_config(str(shared / "data" / "biobert_tokenizer"))
    assert (fields["hidden_size"], fields["num_hidden_layers"], fields["vocab_size"]) == (768, 12, 28996)


# What is refused


def refused(action, *arguments):
    with pytest.raises(InputError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_are_accounted_for_one_by_one(tmp_path, bert, wanted):
    weights = torch_weights(bert.params)
    weights["encoder.layer.5.output.dense.weight"] = np.ones((16, 24), np.float32)
    del weights["encoder.layer.1.attention.self.key.bias"], weights["embeddings.word_embeddings.weight"]
    weights["encoder.layer.0.output.dense.weight"] = np.ones((24, 16), np.float32)
    message = refused(pretrained.load_bert, write(tmp_path, weights), wanted)
    assert "model.safetensors: weights do not fit the model" in message
    assert "2 missing (embeddings/word_embeddings/embedding first)" in message
    assert "1 left over (encoder/layer/5/output/dense/kernel first)" in message
    assert "1 of another shape (encoder/layer/0/output/dense/kernel: (16, 24), not (24, 16))" in message


def test_a_transposed_square_matrix_would_show(bert):
    # Query, key and value are square: only the values tell that they were turned.
    square = "encoder.layer.0.attention.self.query.weight"
    kernel = bert.params["encoder"]["layer"]["0"]["attention"]["self"]["query"]["kernel"]
    assert np.any(torch_weights(bert.params)[square] != kernel)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_safetensors_are_refused(tmp_path, bert, wanted, share):
    folder = write(tmp_path, torch_weights(bert.params))
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: int(share * len(data))])
    assert "model.safetensors: damaged safetensors" in refused(pretrained.load_bert, folder, wanted)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_truncated_msgpack_is_refused(tmp_path, bert, wanted, share):
    bert.save_pretrained(tmp_path)
    file = tmp_path / "flax_model.msgpack"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert "flax_model.msgpack: damaged msgpack" in refused(pretrained.load_bert, str(tmp_path), wanted)


def test_torch_weights_alone_are_refused_with_the_way_out(tmp_path, wanted):
    folder = write(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    message = refused(pretrained.load_bert, folder, wanted)
    assert "holds neither model.safetensors nor flax_model.msgpack" in message
    assert "save_pretrained" in message


def test_no_configuration_and_not_a_bert(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no configuration could be loaded" in refused(pretrained.load_bert_config, str(tmp_path / "empty"))
    assert "is a roberta; give a BERT" in refused(
        pretrained.load_bert_config, write(tmp_path / "roberta", model_type="roberta")
    )
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "no configuration could be loaded" in refused(pretrained.load_bert_config, str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["/no/such/folder", "./folder", "a/b/c", "~/folder", "file.txt"])
def test_a_path_that_is_no_folder_is_refused_as_such(tmp_path, monkeypatch, name, wanted):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    for action in (pretrained.load_bert_config, lambda n: pretrained.load_bert(n, wanted)):
        assert f"text.pretrained = {name}: there is no such folder" in refused(action, name)


def test_a_home_folder_is_expanded(tmp_path, monkeypatch, bert, wanted):
    write(tmp_path / "bert", torch_weights(bert.params))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_equal(pretrained.load_bert("~/bert", wanted), wanted)


def test_a_hub_name_without_network_is_refused(wanted):
    name = "nobody/has-this-model"
    assert f"text.pretrained = {name}: no configuration could be loaded" in refused(pretrained.load_bert_config, name)
    assert f"text.pretrained = {name}: " in refused(pretrained.load_bert, name, wanted)


def test_a_dead_network_is_asked_once_and_not_for_minutes(tmp_path):
    code = (
        "import logging, time; from cxr_jax.errors import InputError; from cxr_jax.data import reports\n"
        "from cxr_jax import hub; start = time.monotonic()\n"
        "for _ in range(2):\n"
        "    try: reports.load_tokenizer('nobody/has-this-model')\n"
        "    except InputError as error: print(error)\n"
        "print('quick' if time.monotonic() - start < 10 else 'slow', hub.reachable())"
    )
    # Nothing listens on port 9: the hub cannot be reached, whatever this machine's network is.
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PATH": "", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "quick False"
    assert result.stdout.count("text.pretrained = nobody/has-this-model: no tokenizer could be loaded") == 2
    assert not re.search("retry", result.stderr, re.I)


def test_folders_and_hub_names_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dmis-lab" / "biobert-v1.1").mkdir(parents=True)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    assert hub.locate("dmis-lab/biobert-v1.1") == ("dmis-lab/biobert-v1.1", True)
    shutil.rmtree(tmp_path / "dmis-lab")
    assert hub.locate("dmis-lab/biobert-v1.1") == ("dmis-lab/biobert-v1.1", False)
    assert hub.locate("bert-base-uncased") == ("bert-base-uncased", False)
