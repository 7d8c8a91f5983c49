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
from flax.traverse_util import flatten_dict, unflatten_dict
from transformers import (
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    FlaxBertModel,
    FlaxDistilBertModel,
    FlaxElectraModel,
    FlaxRobertaModel,
    RobertaConfig,
)

from cxr_jax.errors import InputError
from cxr_jax.models.text import TextEncoder
from cxr_jax.weights import bert as pretrained_bert
from cxr_jax.weights import hub

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
    assert_equal(pretrained_bert.load_bert(write(tmp_path, weights), wanted).params, wanted)


def test_half_precision_becomes_float32(tmp_path, bert, wanted):
    half = {name: value.astype(np.float16) for name, value in torch_weights(bert.params).items()}
    expected = jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), wanted)
    assert_equal(pretrained_bert.load_bert(write(tmp_path, half), wanted).params, expected)


@pytest.mark.parametrize("prefix", [False, True])
def test_flax_msgpack(tmp_path, bert, wanted, prefix):
    folder = write(tmp_path)
    tree = {"bert": bert.params, "cls": {"predictions": {"bias": np.ones(40)}}} if prefix else bert.params
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes(tree))
    assert_equal(pretrained_bert.load_bert(folder, wanted).params, wanted)


@pytest.mark.parametrize("form", ["safetensors", "msgpack"])
def test_the_encoder_computes_what_transformers_computes(tmp_path, bert, wanted, form):
    if form == "safetensors":
        folder = write(tmp_path, torch_weights(bert.params))
    else:
        bert.save_pretrained(tmp_path)
        folder = str(tmp_path)
    theirs = FlaxBertModel.from_pretrained(folder, local_files_only=True)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), wanted)
    ours = pretrained_bert.load_bert(folder, shapes).params
    fields = pretrained_bert.load_bert_config(folder)
    expected = theirs(TOKEN_IDS, TOKEN_MASK).last_hidden_state
    np.testing.assert_allclose(hidden_states(ours, fields=fields), expected, atol=1e-5)


@pytest.mark.slow
def test_minilm(shared):
    folder = str(shared / "data" / "minilm")
    fields = pretrained_bert.load_bert_config(folder)
    assert (fields["hidden_size"], fields["num_hidden_layers"], fields["layer_norm_eps"]) == (384, 6, 1e-12)
    theirs = FlaxBertModel.from_pretrained(folder, local_files_only=True)
    wanted = {name: value for name, value in theirs.params.items() if name != "pooler"}
    ours = pretrained_bert.load_bert(folder, wanted).params
    assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {np.dtype(np.float32)}
    token_ids = np.random.default_rng(0).integers(1000, 30000, TOKEN_IDS.shape, np.int32)
    # Under jit: op by op, both take ten times as long.
    expected = np.asarray(jax.jit(lambda p: theirs(token_ids, TOKEN_MASK, params=p).last_hidden_state)(theirs.params))
    found = np.asarray(jax.jit(lambda p: hidden_states(p, token_ids, fields=fields))(ours))
    real = TOKEN_MASK > 0
    np.testing.assert_allclose(found[real], expected[real], atol=1e-5)


# Its kin

KIN = {
    "roberta": (FlaxRobertaModel, RobertaConfig, {"max_position_embeddings": 22, "type_vocab_size": 1}),
    "electra": (FlaxElectraModel, ElectraConfig, {"embedding_size": 16}),
    "distilbert": (FlaxDistilBertModel, DistilBertConfig, {}),
}
DISTILBERT = {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 20}


@pytest.mark.parametrize("form", ["safetensors", "msgpack"])
@pytest.mark.parametrize("kind", KIN)
def test_kin_compute_what_transformers_computes(tmp_path, kind, form):
    model_class, config_class, more = KIN[kind]
    config = config_class(**(DISTILBERT if kind == "distilbert" else FIELDS | more))
    theirs = model_class(config, _do_init=False)
    rng = np.random.default_rng(2)
    params = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), theirs.params_shape_tree)
    config.save_pretrained(tmp_path)
    if form == "safetensors":
        safetensors.numpy.save_file(torch_weights(params, f"{kind}."), tmp_path / "model.safetensors")
    else:
        (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes({kind: params}))

    fields = pretrained_bert.load_bert_config(str(tmp_path))
    assert fields["max_position_embeddings"] == 20
    ours = pretrained_bert.load_bert(str(tmp_path), bert_shapes(fields)).params
    # RoBERTa tells padding by its number; neither it nor what is beyond the mask may be looked at.
    token_ids = np.where(TOKEN_MASK > 0, TOKEN_IDS.clip(2), config.pad_token_id)
    found = hidden_states(ours, token_ids, fields=fields)
    # FlaxElectraModel's own default is type 1, torch's and everyone else's 0.
    types = {"token_type_ids": np.zeros_like(token_ids)} if kind == "electra" else {}
    expected = theirs(token_ids, TOKEN_MASK, params=params, **types).last_hidden_state
    np.testing.assert_allclose(found[TOKEN_MASK > 0], expected[TOKEN_MASK > 0], atol=1e-5)


def bert_shapes(fields):
    encoder = TextEncoder(BertConfig(**fields), num_prompts=0)
    return jax.eval_shape(lambda: encoder.init(jax.random.key(0), TOKEN_IDS, TOKEN_MASK))["params"]["bert"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "electra", "embedding_size": 8}, "is an ELECTRA whose embeddings are narrower"),
        ({"position_embedding_type": "relative_key"}, "has relative positions or is a decoder"),
        ({"is_decoder": True}, "has relative positions or is a decoder"),
    ],
)
def test_kin_that_would_be_computed_wrongly_are_refused(tmp_path, config, message):
    assert message in refused(pretrained_bert.load_bert_config, write(tmp_path, **config))


def test_cxr_bert_is_a_bert(tmp_path, bert, wanted):
    weights = torch_weights(bert.params, "bert.")
    weights["cls_projection_head.dense_to_hidden.weight"] = np.ones((4, 16), np.float32)
    folder = write(tmp_path, weights, model_type="cxr-bert", projection_size=4)
    assert pretrained_bert.load_bert_config(folder)["hidden_size"] == 16
    assert_equal(pretrained_bert.load_bert(folder, wanted).params, wanted)


# Configurations


def test_a_configuration_is_completed_and_cut_to_its_fields(tmp_path):
    fields = pretrained_bert.load_bert_config(write(tmp_path, id2label={"0": "x"}, torch_dtype="float16"))
    assert tuple(fields) == pretrained_bert.BERT_FIELDS
    assert {name: fields[name] for name in FIELDS} == FIELDS
    assert fields["hidden_act"] == "gelu"
    assert pretrained_bert.complete_bert_config(fields) == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hiden_size": 32}, r"text\.bert: there is no field hiden_size"),
        ({"hidden_size": "16"}, r"text\.bert: hidden_size = '16' must be a positive integer"),
        ({"num_attention_heads": 0}, r"num_attention_heads = 0 must be a positive integer"),
        ({"hidden_act": "gelu_python"}, r"there is no hidden_act 'gelu_python'; it is one of gelu, relu"),
        ({"hidden_size": 30, "num_attention_heads": 4}, r"hidden_size = 30 is no multiple of num_attention_heads = 4"),
    ],
)
def test_configurations_that_make_no_network_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        pretrained_bert.complete_bert_config(fields)


def test_biobert_is_as_large_as_the_paper_says(shared):
    fields = pretrained_bert.load_bert_config(str(shared / "data" / "biobert_tokenizer"))
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
    for layer in (0, 1):
        del weights[f"encoder.layer.{layer}.attention.self.key.bias"]
    del weights["embeddings.word_embeddings.weight"]
    weights["encoder.layer.0.output.dense.weight"] = np.ones((24, 16), np.float32)
    message = refused(pretrained_bert.load_bert, write(tmp_path, weights), wanted)
    assert "model.safetensors: weights do not fit the model" in message
    missing = "embeddings/word_embeddings/embedding, encoder/layer/*/attention/self/key/bias (2)"
    assert f"3 missing ({missing})" in message
    assert "1 left over (encoder/layer/5/output/dense/kernel)" in message
    assert "1 of another shape (encoder/layer/0/output/dense/kernel: (16, 24), not (24, 16))" in message
    assert "--config.text.pretrained_except" in message


def test_weights_named_in_the_configuration_may_be_missing_or_left_over(tmp_path, bert, wanted):
    weights = torch_weights(bert.params) | {"adapter.weight": np.ones((2, 2), np.float32)}
    del weights["encoder.layer.1.output.dense.bias"]
    folder = write(tmp_path, weights)
    assert "1 left over" in refused(pretrained_bert.load_bert, folder, wanted, ("layer/1/output",))
    loaded = pretrained_bert.load_bert(folder, wanted, ("layer/1/output", "^adapter/"))
    expected = flatten_dict(wanted, sep="/")
    del expected["encoder/layer/1/output/dense/bias"]
    assert_equal(loaded.params, unflatten_dict(expected, sep="/"))
    assert f"{len(expected)} of {len(expected) + 1} weights" in loaded.note


def test_a_transposed_square_matrix_would_show(bert):
    # Query, key and value are square: only the values tell that they were turned.
    square = "encoder.layer.0.attention.self.query.weight"
    kernel = bert.params["encoder"]["layer"]["0"]["attention"]["self"]["query"]["kernel"]
    assert np.any(torch_weights(bert.params)[square] != kernel)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_truncated_safetensors_are_refused(tmp_path, bert, wanted, share):
    folder = write(tmp_path, torch_weights(bert.params))
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: int(share * len(data))])
    assert "model.safetensors: damaged safetensors" in refused(pretrained_bert.load_bert, folder, wanted)


def test_truncated_msgpack_is_refused(tmp_path, bert, wanted):
    bert.save_pretrained(tmp_path)
    file = tmp_path / "flax_model.msgpack"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "flax_model.msgpack: damaged msgpack" in refused(pretrained_bert.load_bert, str(tmp_path), wanted)


def test_a_folder_without_weights(tmp_path, wanted):
    message = refused(pretrained_bert.load_bert, write(tmp_path), wanted)
    assert "holds no weights; it takes model.safetensors, flax_model.msgpack, pytorch_model.bin" in message


def test_no_configuration_and_not_of_the_family(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no configuration could be loaded" in refused(pretrained_bert.load_bert_config, str(tmp_path / "empty"))
    message = refused(pretrained_bert.load_bert_config, write(tmp_path / "albert", model_type="albert"))
    assert "is a albert; what can be computed here is bert, cxr-bert, roberta" in message
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "no configuration could be loaded" in refused(pretrained_bert.load_bert_config, str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["/no/such/folder", "./folder", "a/b/c", "~/folder", "file.txt"])
def test_a_path_that_is_no_folder_is_refused_as_such(tmp_path, monkeypatch, name, wanted):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    for action in (pretrained_bert.load_bert_config, lambda n: pretrained_bert.load_bert(n, wanted)):
        assert f"text.pretrained = {name}: there is no such folder" in refused(action, name)


def test_a_home_folder_is_expanded(tmp_path, monkeypatch, bert, wanted):
    write(tmp_path / "bert", torch_weights(bert.params))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_equal(pretrained_bert.load_bert("~/bert", wanted).params, wanted)


def test_a_hub_name_without_network_is_refused(wanted):
    name = "nobody/has-this-model"
    assert f"text.pretrained = {name}: no configuration could be loaded" in refused(
        pretrained_bert.load_bert_config, name
    )
    message = refused(pretrained_bert.load_bert, name, wanted)
    assert f"text.pretrained = {name}: is not on this machine, and the hub cannot be reached" in message


def test_a_dead_network_is_asked_once_and_not_for_minutes(tmp_path):
    code = (
        "import logging, time; from cxr_jax.errors import InputError; from cxr_jax.weights import hub\n"
        "from cxr_jax.weights.tokenizer import load_tokenizer; start = time.monotonic()\n"
        "for _ in range(2):\n"
        "    try: load_tokenizer('nobody/has-this-model')\n"
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
