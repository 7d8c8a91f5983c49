"""The two towers together, and the whole model against PyTorch's numbers."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from cxr_jax import config as configuration
from cxr_jax.models.dual_encoder import build_model, init_variables
from cxr_jax.training.losses import contrastive_loss

GOLDENS = Path(__file__).parent / "goldens.npz"


def load_goldens() -> tuple[dict, dict[str, np.ndarray]]:
    """The small model's configuration, and its arrays by name."""
    with np.load(GOLDENS, allow_pickle=False) as file:
        arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    return configuration.with_younger_keys(config), arrays


def under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def small():
    """Configuration, variables and a batch: image, token_ids, token_mask."""
    config, arrays = load_goldens()
    return config, unflatten_dict(under(arrays, "variables/"), sep="/"), under(arrays, "inputs/")


def test_parity():
    """Outputs are those of the PyTorch model that scripts/make_goldens.py ran (it checks the full size, too).

    These numbers may change only where the model is meant to compute something else.
    """
    config, arrays = load_goldens()
    weights, batch = under(arrays, "variables/"), under(arrays, "inputs/")
    model = build_model(config)
    shapes = flatten_dict(jax.eval_shape(lambda: init_variables(model, jax.random.key(0), 32)), sep="/")
    assert {k: v.shape for k, v in shapes.items()} == {k: v.shape for k, v in weights.items()}
    out = jax.jit(model.apply)(unflatten_dict(weights, sep="/"), **batch)
    for name in ("image_embedding", "text_embedding"):
        np.testing.assert_allclose(out[name], arrays[f"eval/{name}"], atol=1e-5)
    loss = contrastive_loss(out["text_embedding"], out["image_embedding"], out["scale"])
    np.testing.assert_allclose(loss, arrays["eval/loss"], rtol=1e-4)


def test_parity_of_gradients():
    """In training; in float64, for in float32 rounding alone moves some by 1e-2, over ReLU's kink."""
    config, arrays = load_goldens()
    model, batch = build_model(config | {"compute_dtype": "float64"}), under(arrays, "inputs/")

    def loss(params, batch_stats):
        state = {"params": params, "batch_stats": batch_stats}
        out, _ = model.apply(state, **batch, train=True, mutable=["batch_stats"])
        return contrastive_loss(out["text_embedding"], out["image_embedding"], out["scale"])

    with jax.enable_x64(True):
        weights = {name: x.astype(np.float64) for name, x in under(arrays, "variables/").items()}
        tree = unflatten_dict(weights, sep="/")
        value, gradients = jax.jit(jax.value_and_grad(loss))(tree["params"], tree["batch_stats"])
    np.testing.assert_allclose(value, arrays["train/loss"], rtol=1e-5)
    ours = {name: x for name, x in flatten_dict(gradients, sep="/").items() if "/bert/" not in name}
    theirs = under(arrays, "train/gradient/")
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        np.testing.assert_allclose(ours[name], gradient, rtol=0, atol=1e-4 * np.abs(gradient).max(), err_msg=name)


def test_either_input_may_be_missing(small):
    config, variables, batch = small
    apply = jax.jit(build_model(config).apply)
    both = apply(variables, **batch)
    image_only = apply(variables, image=batch["image"])
    text_only = apply(variables, token_ids=batch["token_ids"], token_mask=batch["token_mask"])
    vision = {"image_embedding", "channel_attention", "spatial_attention", "pooling_weight"}
    assert image_only.keys() == {"scale"} | vision
    assert text_only.keys() == {"scale", "text_embedding", "prompt_scale"}
    assert both.keys() == image_only.keys() | text_only.keys()
    for name, value in (image_only | text_only).items():
        np.testing.assert_allclose(value, both[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_intermediates_have_their_shapes(small):
    config, variables, batch = small
    out = jax.eval_shape(lambda: build_model(config).apply(variables, **batch))
    assert {name: value.shape for name, value in out.items()} == {
        "scale": (),
        "image_embedding": (4, 6),
        "text_embedding": (4, 6),
        "channel_attention": (4, 1, 1, 8),
        "spatial_attention": (4, 5, 5, 1),
        "pooling_weight": (),
        "prompt_scale": (4, 3),
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_embeddings_have_unit_norm_in_float32(small, dtype):
    config, variables, batch = small
    out = jax.jit(build_model(config | {"compute_dtype": dtype}).apply)(variables, **batch)
    for name in ("image_embedding", "text_embedding"):
        assert out[name].dtype == jnp.float32
        np.testing.assert_allclose(np.linalg.norm(out[name], axis=-1), 1, rtol=1e-5)
    assert out["scale"].dtype == jnp.float32


def test_bfloat16_computes_about_the_same(small):
    config, variables, batch = small
    exact, rounded = (
        jax.jit(build_model(config | {"compute_dtype": dtype}).apply)(variables, **batch)
        for dtype in ("float32", "bfloat16")
    )
    for name in ("image_embedding", "text_embedding"):
        cosine = np.sum(exact[name] * rounded[name], axis=-1)
        assert (cosine > 0.98).all(), (name, cosine)
        assert (cosine < 1 - 1e-7).any(), f"{name} was not computed in bfloat16"


@pytest.mark.parametrize(("log_scale", "scale"), [(np.log(50), 50), (np.log(100), 100), (9.0, 100)])
def test_scale_is_clipped_at_100(small, log_scale, scale):
    config, variables, _ = small
    params = variables["params"] | {"log_scale": jnp.float32(log_scale)}
    np.testing.assert_allclose(build_model(config).apply({"params": params})["scale"], scale, rtol=1e-5)


def test_fresh_parameters(small):
    """Temperature 0.07, float32 throughout, and no statistics but BatchNorm's."""
    config, _, _ = small
    model = build_model(config | {"compute_dtype": "bfloat16"})
    fresh = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), 32))
    assert {x.dtype for x in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    assert fresh.keys() == {"params", "batch_stats"}
    assert fresh["batch_stats"].keys() == {"vision"}
    log_scale = model.init(jax.random.key(0))["params"]["log_scale"]
    np.testing.assert_allclose(np.exp(log_scale), 1 / 0.07, rtol=1e-5)
