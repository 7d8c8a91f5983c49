"""Files of weights: finding them, reading each format without running what is in it, accounting for every weight."""

import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import flax
import jax.numpy as jnp
import numpy as np
import safetensors
from flax.traverse_util import flatten_dict
from transformers.utils import cached_file

from cxr_jax.errors import InputError
from cxr_jax.weights.hub import locate

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "I64": np.int64,
          "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_}  # fmt: skip
TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
SUFFIXES = (".safetensors", ".msgpack", ".h5", *TORCH_SUFFIXES)
PICKLES = (b"\x80", b"PK\x03\x04")  # a bare one, and torch's archive around one
GIT_LFS = b"version https://git-lfs"
# Before 2.6 torch.load(weights_only=True) could be made to run code (CVE-2025-32434).
MIN_TORCH = (2, 6)
CONVERT = (
    'convert it where torch is: safetensors.torch.save_file({k: v.clone() for k, v in torch.load("FILE", '
    'weights_only=True).items()}, "model.safetensors")'
)
NESTED = ("state_dict", "model_state_dict", "model")  # where trainers put the weights among other things
Shape = tuple[int, ...]


def find(key: str, name: str, files: Sequence[str]) -> Path | None:
    """The first of `files` that a folder, or a model on the hub, holds.

    Raises:
      InputError: there is no such folder, and no such model within reach.
    """
    place, local = locate(name, key)
    for file in files:
        try:
            path = cached_file(place, file, local_files_only=local, _raise_exceptions_for_missing_entries=False)
        except Exception as error:  # the hub's client raises a dozen kinds
            raise InputError(f"{key} = {name}: cannot be had from the hub ({first_line(error)})") from error
        if path is not None:
            return Path(path)
    if local and not Path(place).is_dir():
        raise InputError(
            f"{key} = {name}: is not on this machine, and the hub cannot be reached; give the folder of a copy"
        )
    return None


def read(file: Path) -> dict[str, np.ndarray]:
    """A file's arrays by name, levels joined by `/` in msgpack and Keras's .h5, by `.` elsewhere; nothing in it is run.

    Raises:
      InputError: it is damaged, is something else than its name says, or needs torch or h5py, which is not there.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{file}: is none of {', '.join(SUFFIXES)}; convert it to safetensors")
    try:
        with file.open("rb") as stream:
            start = stream.read(len(GIT_LFS))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); mend or fetch it again") from error
    if not start:
        raise InputError(f"{file}: damaged: it is empty; fetch it again")
    if start == GIT_LFS:
        raise InputError(f"{file}: is Git LFS's pointer to the weights, not the weights; run git lfs pull there")
    # A safetensors header's length may begin as a pickle does; after its eight bytes comes JSON.
    if suffix not in TORCH_SUFFIXES and start[8:9] != b"{" and start.startswith(PICKLES):
        raise InputError(
            f"{file}: is a pickle under a {suffix} name, and was not opened; fetch the weights from their author"
        )
    readers = {".safetensors": _read_safetensors, ".msgpack": _read_msgpack, ".h5": _read_keras}
    return readers.get(suffix, _read_torch)(file)


def account(
    file: Path | str,
    weights: Mapping[str, np.ndarray],
    wanted: Mapping[str, Shape],
    excepted: Sequence[str] = (),
    way_out: str = "",
) -> list[str]:
    """Refuses weights that do not match one to one; those names that stand on both sides, in the order of `wanted`.

    Args:
      weights, wanted: arrays and shapes, under the names that the refusal prints.
      excepted: regular expressions; a name that one of them matches, in part, may be missing or left over.
      way_out: how the user may go on, for the end of the line.

    Raises:
      InputError: naming all that are missing, left over, of another shape, or not finite.
    """

    def counted(names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if not any(re.search(pattern, name) for pattern in excepted))

    def shapes(name: str) -> str:
        return f": {weights[name].shape}, not {wanted[name]}"

    both = [name for name in wanted if name in weights]
    faults = {
        "missing": counted(wanted.keys() - weights.keys()),
        "left over": counted(weights.keys() - wanted.keys()),
        "of another shape": [name for name in both if weights[name].shape != wanted[name]],
    }
    if any(faults.values()):
        said = "; ".join(
            f"{len(names)} {fault} ({listed(names, shapes if fault == 'of another shape' else None)})"
            for fault, names in faults.items()
            if names
        )
        raise InputError(f"{file}: weights do not fit the model: {said}{'; ' if way_out else ''}{way_out}")
    if odd := [name for name in both if not jnp.issubdtype(weights[name].dtype, jnp.floating)]:
        raise InputError(f"{file}: holds {listed(odd)} as {weights[odd[0]].dtype}; give floating-point weights")
    if odd := [name for name in both if not np.isfinite(weights[name].astype(np.float32)).all()]:
        raise InputError(f"{file}: holds NaN or infinity in {len(odd)} weights ({listed(odd)}); fetch it again")
    return both


def may_be_missing(key: str) -> str:
    """`account`'s way out by a key that names the exceptions."""
    return f"--config.{key} names what may be missing or left over"


def listed(names: Iterable[str], detail: Callable[[str], str] | None = None) -> str:
    """Every name, those that differ in their numbers alone as one, with the first's detail: `layer/*/bias (12)`."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(re.sub(r"[0-9]+", "*", name), []).append(name)
    return ", ".join(
        (f"{pattern} ({len(group)})" if len(group) > 1 else group[0]) + (detail(group[0]) if detail else "")
        for pattern, group in alike.items()
    )


def first_line(error: Exception) -> str:
    """What an exception says, in at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _read_safetensors(file: Path) -> dict[str, np.ndarray]:
    try:
        # Not safetensors.numpy: it knows no bfloat16. Sorted: tensors come in another order in each process.
        return {
            name: np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
            for name, tensor in sorted(safetensors.deserialize(file.read_bytes()), key=lambda pair: pair[0])
        }
    except Exception as error:
        raise InputError(f"{file}: damaged safetensors ({first_line(error)}); fetch it again") from error


def _read_msgpack(file: Path) -> dict[str, np.ndarray]:
    try:
        tree = flatten_dict(flax.serialization.msgpack_restore(file.read_bytes()), sep="/")
        return {name: np.asarray(value) for name, value in tree.items()}
    except Exception as error:
        raise InputError(f"{file}: damaged msgpack ({first_line(error)}); fetch it again") from error


def _read_keras(file: Path) -> dict[str, np.ndarray]:
    """By the names of Keras's variables, `conv1/conv/kernel`; the levels of submodels are left out."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(f'{file}: is in Keras\'s own format; pip install "cxr_jax[keras]" to read it') from error
    try:
        with h5py.File(file) as h5:
            root = h5.get("model_weights", h5)  # a whole model, or weights alone
            if "layer_names" not in root.attrs:
                raise InputError(
                    f"{file}: holds no layers' names, as Keras 3's .weights.h5 does; load it into its model and "
                    'save that with model.save("densenet121.h5")'
                )
            layers = [root[_text(layer)] for layer in root.attrs["layer_names"]]
            names = [(layer, _text(name)) for layer in layers for name in layer.attrs["weight_names"]]
            return {name.partition(":")[0]: layer[name][()] for layer, name in names}
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{file}: damaged .h5 ({first_line(error)}); fetch it again") from error


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _read_torch(file: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f'{file}: is in torch\'s own format; pip install "cxr_jax[torch]" to read it, or {CONVERT}'
        ) from error
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < MIN_TORCH:
        raise InputError(f"{file}: torch {torch.__version__} cannot read it safely; install torch 2.6 or newer")
    try:
        with warnings.catch_warnings(action="ignore"):  # on the pickle's protocol
            weights = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text recommends weights_only=False
        raise InputError(
            f"{file}: is a pickle of more than weights (a whole model, or worse), and nothing in it was run; only if "
            "you trust it, save its state_dict() with torch and give that"
        ) from error
    except Exception as error:
        raise InputError(f"{file}: damaged torch file ({first_line(error)}); fetch it again") from error
    for name in NESTED:
        if isinstance(weights, Mapping) and isinstance(weights.get(name), Mapping):
            weights = weights[name]
    if not isinstance(weights, Mapping):
        raise InputError(f"{file}: holds a {type(weights).__name__}, no table of weights; save a state_dict() instead")
    if odd := [str(name) for name, value in weights.items() if not isinstance(value, torch.Tensor)]:
        raise InputError(f"{file}: holds more than weights ({listed(odd)}); save the state_dict() alone")
    # NumPy has no bfloat16 of torch's.
    floats = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    return {str(name): value.detach().numpy() for name, value in floats.items()}
