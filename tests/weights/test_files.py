"""Files of weights: what is read from each format, what is refused, and that nothing in them is ever run."""

import pickle
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.flax
import safetensors.numpy

from cxr_jax.errors import InputError
from cxr_jax.weights import files as weight_files

WEIGHTS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(3)}


class Payload:
    """Pickled, it would make a file when it is opened."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def refused(action, *arguments):
    with pytest.raises(InputError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_safetensors_with_bfloat16(tmp_path):
    safetensors.flax.save_file({"a": jnp.array([[1.5, -2.0]], jnp.bfloat16)}, tmp_path / "x.safetensors")
    found = weight_files.read(tmp_path / "x.safetensors")["a"]
    np.testing.assert_array_equal(found.astype(np.float32), [[1.5, -2.0]])


def test_safetensors_are_what_was_written(tmp_path):
    safetensors.numpy.save_file(WEIGHTS, tmp_path / "x.safetensors")
    found = weight_files.read(tmp_path / "x.safetensors")
    assert found.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("suffix", [".safetensors", ".msgpack", ".bin", ".pt", ".pth"])
def test_a_pickle_is_refused_and_never_run(tmp_path, suffix):
    file, marker = tmp_path / f"model{suffix}", tmp_path / "run"
    file.write_bytes(pickle.dumps(Payload(marker)))
    message = refused(weight_files.read, file)
    assert str(file) in message
    assert not marker.exists()
    if suffix in (".safetensors", ".msgpack"):
        assert f"is a pickle under a {suffix} name, and was not opened" in message
    pickle.loads(file.read_bytes()).close()
    assert marker.exists()  # so it was one that runs


@pytest.mark.parametrize("suffix", [".safetensors", ".msgpack", ".pth"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty; fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is Git LFS's pointer to the weights"),
    ],
)
def test_files_that_are_no_weights(tmp_path, suffix, content, message):
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert message in refused(weight_files.read, tmp_path / f"x{suffix}")


def test_other_formats_are_named(tmp_path):
    assert ".safetensors, .msgpack, .h5, .bin" in refused(weight_files.read, tmp_path / "densenet121.onnx")
    assert "cannot be read (No such file" in refused(weight_files.read, tmp_path / "x.safetensors")


def test_msgpack_of_something_else(tmp_path):
    (tmp_path / "x.msgpack").write_bytes(b"\x05")  # the number 5
    assert "damaged msgpack" in refused(weight_files.read, tmp_path / "x.msgpack")


# torch's own format


def test_without_torch_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04")
    message = refused(weight_files.read, tmp_path / "x.pth")
    assert 'pip install "cxr_jax[torch]"' in message
    assert "safetensors.torch.save_file" in message


def test_a_torch_that_is_not_safe_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2.5.1+cu121"))
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04")
    assert "torch 2.5.1+cu121 cannot read it safely" in refused(weight_files.read, tmp_path / "x.pth")


@pytest.mark.parametrize("nested", [False, True])
def test_torchs_format(tmp_path, nested):
    torch = pytest.importorskip("torch")
    state = {"a": torch.tensor([[1.5, 2.0]], dtype=torch.bfloat16), "n": torch.tensor(3)}
    torch.save({"state_dict": state, "epoch": 7} if nested else state, tmp_path / "x.pth")
    found = weight_files.read(tmp_path / "x.pth")
    assert found.keys() == {"a", "n"}
    np.testing.assert_array_equal(found["a"], np.float32([[1.5, 2.0]]))


def test_torch_files_that_are_not_weights(tmp_path):
    torch = pytest.importorskip("torch")
    file, marker = tmp_path / "x.pth", tmp_path / "run"
    torch.save({"a": Payload(marker)}, file)
    assert "is a pickle of more than weights" in refused(weight_files.read, file)
    assert not marker.exists()
    torch.save(torch.nn.Linear(2, 2), file)
    assert "save its state_dict()" in refused(weight_files.read, file)
    file.write_bytes(file.read_bytes()[:300])
    assert "damaged torch file" in refused(weight_files.read, file)
    torch.save(torch.zeros(3), file)
    assert "holds a Tensor, no table of weights" in refused(weight_files.read, file)
    torch.save({"a": torch.zeros(3), "epoch": 3}, file)
    assert "holds more than weights (epoch)" in refused(weight_files.read, file)


# Accounting


def test_names_that_differ_in_numbers_alone_are_listed_as_one():
    names = ["layer.0.bias", "layer.1.bias", "head.weight", "layer.10.bias"]
    assert weight_files.listed(names) == "layer.*.bias (3), head.weight"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    found = {"x.0": np.float32([1, value]), "x.1": np.float32([1, 2])}
    message = refused(weight_files.account, "f", found, {"x.0": (2,), "x.1": (2,)})
    assert message == "f: holds NaN or infinity in 1 weights (x.0); fetch it again"


def test_whole_numbers_are_no_weights():
    message = refused(weight_files.account, "f", {"x": np.ones(2, np.int8)}, {"x": (2,)})
    assert message == "f: holds x as int8; give floating-point weights"


def test_an_exception_does_not_excuse_a_shape():
    message = refused(weight_files.account, "f", {"x": np.ones(2)}, {"x": (3,)}, ("x",))
    assert "1 of another shape (x: (2,), not (3,))" in message
