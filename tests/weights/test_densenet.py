"""DenseNet's weights from torchvision's, timm's, torchxrayvision's and Keras's files.

The numbers are torch's: scripts/check_weights.py wrote them beside the weights, and holds the full size.
"""

import json
import pickle
import re
import sys
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

from cxr_jax.errors import InputError
from cxr_jax.models.densenet import DenseNet
from cxr_jax.weights.densenet import load_densenet
from cxr_jax.weights.names import torchvision_names

GOLDENS = safetensors.numpy.load_file(Path(__file__).with_name("torchvision.safetensors"))
COLOUR = {name: value for name, value in GOLDENS.items() if name.startswith("features.")}
SINGLE = {name.removeprefix("single/"): value for name, value in GOLDENS.items() if name.startswith("single/")}
SIZES = {"block_sizes": (2, 1), "growth_rate": 4}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def image(name, **changes):
    """The configuration's `image`, as far as it matters here."""
    return SIZES | {"pretrained": str(name), "pretrained_except": (), "mean": MEAN, "std": STD} | changes


def write(file, weights):
    file.parent.mkdir(exist_ok=True)
    safetensors.numpy.save_file({name: np.ascontiguousarray(v) for name, v in weights.items()}, file)
    return file


def feature_map(loaded):
    model = DenseNet(**SIZES, mean=loaded.mean, std=loaded.std)
    return jax.jit(model.apply)(loaded.variables, GOLDENS["golden/image"])


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def refused(*arguments, **changes):
    with pytest.raises(InputError) as error:
        load_densenet(image(*arguments, **changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_names_are_one_to_one_and_cover_every_variable():
    names = torchvision_names((6, 12, 24, 16))
    shapes = jax.eval_shape(lambda: DenseNet().init(jax.random.key(0), jnp.zeros((1, 64, 64, 1))))
    assert names.keys() == flatten_dict(shapes, sep="/").keys()
    assert len(set(names.values())) == len(names)
    assert torchvision_names((2, 1)).keys() < names.keys()


def test_the_map_is_torchs(tmp_path):
    loaded = load_densenet(image(write(tmp_path / "x.safetensors", COLOUR)))
    assert (loaded.mean, loaded.std) == (MEAN, STD)
    assert_close(feature_map(loaded), GOLDENS["golden/map"])
    assert {x.dtype for x in jax.tree.leaves(loaded.variables)} == {np.dtype(np.float32)}
    assert loaded.note.endswith("x.safetensors, 44 of 44 weights, 3 channels, the configuration's mean "
                                "0.485/0.456/0.406 and std 0.229/0.224/0.225")  # fmt: skip


def test_one_channel_is_torchxrayvisions_with_its_scaling(tmp_path):
    loaded = load_densenet(image(write(tmp_path / "x.safetensors", SINGLE)))
    assert (loaded.mean, loaded.std) == ((0.5,) * 3, (1 / 2048,) * 3)
    assert_close(feature_map(loaded), GOLDENS["golden/single/map"])
    assert "1 channel, torchxrayvision's mean 0.5 and std 0.0004883" in loaded.note


def head(features):
    return {"classifier.weight": np.ones((5, features), np.float32), "classifier.bias": np.ones(5, np.float32)}


@pytest.mark.parametrize(
    "form",
    [
        lambda weights: {k: v for k, v in weights.items() if "num_batches" not in k},
        lambda weights: weights | head(12) | {"op_threshs": np.ones(18, np.float32)},
        lambda weights: {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", k): v for k, v in weights.items()},
        lambda weights: {f"module.densenet121.{k}": v for k, v in (weights | head(12)).items()},
        lambda weights: {re.sub(r"(denselayer\d+)\.", r"\1.layers.", k): v for k, v in weights.items()},
        lambda weights: {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in weights.items()},
    ],
    ids=["no counts", "heads", "old names", "wrapped", "MONAI", "float64"],
)
def test_forms_of_the_same_weights(tmp_path, form):
    plain = load_densenet(image(write(tmp_path / "plain.safetensors", COLOUR)))
    other = load_densenet(image(write(tmp_path / "other.safetensors", form(COLOUR))))
    same = jax.tree.map(np.array_equal, plain.variables, other.variables)
    assert all(jax.tree.leaves(same))


# timm's folders


@pytest.mark.parametrize(
    ("config", "mean", "std"),
    [
        ({"pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [1, 2, 3]}}, (0.5, 0.4, 0.3), (1, 2, 3)),
        ({"pretrained_cfg": {"mean": [0.5], "std": [0.25]}}, (0.5,) * 3, (0.25,) * 3),
        ({"architecture": "densenet121"}, MEAN, STD),
        (None, MEAN, STD),
    ],
)
def test_timms_folder_and_its_scaling(tmp_path, config, mean, std):
    file = write(tmp_path / "timm" / "model.safetensors", COLOUR)
    if config is not None:
        (tmp_path / "timm" / "config.json").write_text(json.dumps(config))
    by_folder, by_file = (load_densenet(image(name)) for name in (tmp_path / "timm", file))
    assert (by_folder.mean, by_folder.std) == (by_file.mean, by_file.std) == (mean, std)


def test_a_stated_scaling_rules_over_torchxrayvisions(tmp_path):
    write(tmp_path / "model.safetensors", SINGLE)
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.5], "std": [0.25]}}))
    assert load_densenet(image(tmp_path)).std == (0.25,) * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "config.json: its mean and std cannot be read"),
        ("[]", "config.json: its mean and std cannot be read"),
        ('{"pretrained_cfg": {"mean": "grey", "std": [1]}}', "config.json: its mean and std cannot be read"),
        ('{"mean": [0.5, 0.5], "std": [1]}', "must be one or three numbers each"),
        ('{"mean": [0.5], "std": [0]}', "must be one or three numbers each"),
    ],
)
def test_timm_configurations_that_make_no_sense(tmp_path, content, message):
    write(tmp_path / "model.safetensors", COLOUR)
    (tmp_path / "config.json").write_text(content)
    assert message in refused(tmp_path)


# What is refused


def test_weights_are_accounted_for_one_by_one(tmp_path):
    weights = COLOUR | {"features.extra.weight": np.ones(2, np.float32)}
    del weights["features.norm5.running_mean"]
    del (
        weights["features.denseblock1.denselayer1.conv1.weight"],
        weights["features.denseblock1.denselayer2.conv1.weight"],
    )
    weights["features.norm0.bias"] = np.ones(9, np.float32)
    file = write(tmp_path / "x.safetensors", weights)
    message = refused(file)
    lost = "features.denseblock*.denselayer*.conv*.weight (2), features.norm5.running_mean"
    assert f"{file}: weights do not fit the model: 3 missing ({lost})" in message
    assert "1 left over (features.extra.weight)" in message
    assert "1 of another shape (features.norm0.bias: (9,), not (8,))" in message
    assert "--config.image.pretrained_except" in message


def test_weights_named_in_the_configuration_may_be_missing_or_left_over(tmp_path):
    weights = COLOUR | {"attention.weight": np.ones(2, np.float32)}
    del weights["features.norm5.weight"]
    file = write(tmp_path / "x.safetensors", weights)
    loaded = load_densenet(image(file, pretrained_except=("^attention", r"norm5\.weight$")))
    assert loaded.variables["params"]["norm5"].keys() == {"bias"}
    assert "43 of 44 weights" in loaded.note
    assert "1 left over" in refused(file, pretrained_except=("norm5",))


def test_a_transition_is_told_from_its_neighbours(tmp_path):
    weights = dict(COLOUR)
    weights["features.transition1.conv.weight"] = weights["features.transition1.conv.weight"][:, :, 0]
    assert "transition1.conv.weight" in refused(write(tmp_path / "x.safetensors", weights))


@pytest.mark.parametrize("sizes", [{"block_sizes": (2, 2)}, {"growth_rate": 8}, {"block_sizes": (6, 12, 24, 16)}])
def test_a_network_of_another_size(tmp_path, sizes):
    message = refused(write(tmp_path / "x.safetensors", COLOUR), **sizes)
    assert "has image.block_sizes = (2, 1) and image.growth_rate = 4, the configuration" in message


def test_something_else_altogether(tmp_path):
    message = refused(write(tmp_path / "x.safetensors", {"layer1.0.conv1.weight": np.ones((2, 2), np.float32)}))
    assert "44 missing" in message
    assert "1 left over" in message
    assert len(message) < 1000


def test_broken_numbers(tmp_path):
    file = write(tmp_path / "x.safetensors", COLOUR | {"features.norm0.weight": np.full(8, np.nan, np.float32)})
    assert "holds NaN or infinity in 1 weights (features.norm0.weight)" in refused(file)
    write(file, COLOUR | {"features.norm0.running_var": np.full(8, -1, np.float32)})
    assert "features.norm0.running_var holds negative variances" in refused(file)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_truncated_safetensors(tmp_path, share):
    file = write(tmp_path / "model.safetensors", COLOUR)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    for name in (file, tmp_path):
        assert "model.safetensors: damaged safetensors" in refused(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "image.pretrained = /no/such/folder: there is no such folder"),
        ("/no/such/x.safetensors", "image.pretrained = /no/such/x.safetensors: there is no such file"),
        (
            "timm/no-such-densenet",
            "image.pretrained = timm/no-such-densenet: is not on this machine, and the hub cannot",
        ),
    ],
)
def test_what_is_not_there(name, message):
    assert message in refused(name)


def test_a_folder_without_weights(tmp_path):
    assert "holds no weights; it takes model.safetensors or pytorch_model.bin" in refused(tmp_path)


# Keras's .h5

KERAS_2 = {
    "conv0": "conv1/conv", "norm0": "conv1/bn", "norm5": "bn",
    "denseblock1.denselayer1.norm1": "conv2_block1_0_bn", "denseblock1.denselayer1.conv1": "conv2_block1_1_conv",
    "denseblock1.denselayer1.norm2": "conv2_block1_1_bn", "denseblock1.denselayer1.conv2": "conv2_block1_2_conv",
    "denseblock1.denselayer2.norm1": "conv2_block2_0_bn", "denseblock1.denselayer2.conv1": "conv2_block2_1_conv",
    "denseblock1.denselayer2.norm2": "conv2_block2_1_bn", "denseblock1.denselayer2.conv2": "conv2_block2_2_conv",
    "transition1.norm": "pool2_bn", "transition1.conv": "pool2_conv",
    "denseblock2.denselayer1.norm1": "conv3_block1_0_bn", "denseblock2.denselayer1.conv1": "conv3_block1_1_conv",
    "denseblock2.denselayer1.norm2": "conv3_block1_1_bn", "denseblock2.denselayer1.conv2": "conv3_block1_2_conv",
}  # fmt: skip
KERAS_LEAVES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def keras_layers(weights):
    """Layer → its weights, named as Keras 2 names them, in its layout."""
    layers = {"input_1": {}, "predictions": {"kernel": np.ones((12, 5), np.float32), "bias": np.ones(5, np.float32)}}
    for name, value in weights.items():
        module, _, leaf = name.removeprefix("features.").rpartition(".")
        if leaf != "num_batches_tracked":
            kernel = value.ndim == 4
            leaf = "kernel" if kernel else KERAS_LEAVES[leaf]
            layers.setdefault(KERAS_2[module], {})[leaf] = value.transpose(2, 3, 1, 0) if kernel else value
    return layers


def write_keras(file, weights, *, whole=False, keras_3=False, nested=False):
    with h5py.File(file, "w") as h5:
        root = h5.create_group("model_weights") if whole else h5
        names: dict[str, list[str]] = {}
        for layer, leaves in keras_layers(weights).items():
            layer = layer.replace("/", "_") if keras_3 else layer
            group = "densenet121" if nested else layer
            own = [f"{layer}/{leaf}" if keras_3 else f"{layer}/{leaf}:0" for leaf in leaves]
            names.setdefault(group, []).extend(own)
            for name, value in zip(own, leaves.values(), strict=True):
                root.require_group(group)[name] = value
        for group, own in names.items():
            root.require_group(group).attrs["weight_names"] = [name if keras_3 else name.encode() for name in own]
        root.attrs["layer_names"] = [name if keras_3 else name.encode() for name in names]
    return file


@pytest.mark.parametrize("form", [{}, {"whole": True, "keras_3": True}, {"nested": True}], ids=str)
def test_kerass_files(tmp_path, form):
    plain = load_densenet(image(write(tmp_path / "plain.safetensors", COLOUR)))
    keras = load_densenet(image(write_keras(tmp_path / "x.h5", COLOUR, **form)))
    same = jax.tree.map(np.array_equal, plain.variables, keras.variables)
    assert all(jax.tree.leaves(same))
    assert (keras.mean, keras.std) == (MEAN, STD)
    assert keras.note.startswith(f"image.pretrained = {tmp_path}/x.h5: x.h5, 44 of 44 weights, 3 channels")


def test_one_channel_of_kerass_is_not_torchxrayvisions(tmp_path):
    loaded = load_densenet(image(write_keras(tmp_path / "x.h5", SINGLE)))
    assert (loaded.mean, loaded.std) == (MEAN, STD)


def test_a_keras_layer_that_is_not_densenets_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(KERAS_2, "norm5", "top_bn")
    message = refused(write_keras(tmp_path / "x.h5", COLOUR))
    assert "4 missing (features.norm5.bias, features.norm5.running_mean" in message
    assert "4 left over (top_bn/beta, top_bn/gamma, top_bn/moving_mean, top_bn/moving_variance)" in message


def test_keras_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "x.h5"
    with h5py.File(file, "w") as h5:
        h5["layers/conv2d/vars/0"] = np.ones(3)
    assert "holds no layers' names, as Keras 3's .weights.h5 does; load it into its model and save" in refused(file)
    write_keras(file, COLOUR)
    file.write_bytes(file.read_bytes()[:3000])
    assert "x.h5: damaged .h5 (" in refused(file)
    file.write_bytes(pickle.dumps({}))
    assert "is a pickle under a .h5 name" in refused(file)


def test_without_h5py_the_way_out_is_named(tmp_path, monkeypatch):
    file = write_keras(tmp_path / "x.h5", COLOUR)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert 'pip install "cxr_jax[keras]"' in refused(file)
