"""Where in an image the model sees what a sentence says: two maps, and which of them may be shown of which finding.

`similarity`: what each place of the last map gives to the image's cosine with the sentence (a class activation map,
Zhou et al. 2016, with the sentence in the class's place). `occlusion`: how far that cosine falls where a patch of mean
grey hides a place (Zeiler & Fergus 2014); it asks for nothing but the encoder. Both are taken against the pool's mean
text: they show what speaks for this sentence rather than for any. A map is shown of those findings only of which
OFFERED, which scripts/pointing_game.py writes, says that it passed its test with this very checkpoint.
"""

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.labels.statements import statements
from cxr_jax.models.dual_encoder import DualEncoder, build_model, l2_normalize
from cxr_jax.phantom.reports import affirmed_kinds
from cxr_jax.retrieval.heat import Heat, enlarged, hidden, in_frame, spread
from cxr_jax.types import Image

if TYPE_CHECKING:
    from cxr_jax.retrieval.model import Model

SIMILARITY, OCCLUSION, ATTENTION = "similarity", "occlusion", "attention"
MAPS = (SIMILARITY, OCCLUSION)
OFFERED = "regions.json"  # beside the pool, in the index's folder


class Places(NamedTuple):
    """Images' embeddings, what each place of the last map gives to them, and A_s of Eq. (11), 0 × 0 without it.

    `places` sum to `embedding`, which has unit norm.
    """

    embedding: Float[Array, "B E"]
    places: Float[Array, "B h w E"]
    attention: Float[Array, "B a b"]


def encode_places(model: DualEncoder, variables: Any, image: Image) -> Places:
    """`Places` of images, as the model takes them."""
    out: Any
    z, out = model.apply(variables, image, method=lambda m, image: m.vision(image, places=True))
    norm = jnp.maximum(jnp.linalg.norm(jnp.asarray(z, jnp.float32), axis=1), 1e-6)[:, None, None, None]
    A_s = out.get("spatial_attention", jnp.zeros((len(image), 0, 0, 1)))[:, :, :, 0].astype(jnp.float32)
    return Places(l2_normalize(jnp.asarray(z)), out["places"].astype(jnp.float32) / norm, A_s)


class Shown(NamedTuple):
    """The map that may be shown of a finding, one of MAPS: how often it pointed at it, 0 to 1, in how many studies."""

    map: str
    pointing: float
    studies: int


class Regions:
    """A model's maps, and which it shows: `shown`, by finding, of those that passed, by what lies beside its pool.

    Raises:
      InputError: OFFERED is damaged.
    """

    def __init__(self, model: "Model"):
        self._model, place = model, model.pool.place
        self.shown = {} if place is None else offered(place.parent, model.pool.checkpoint)

    @cached_property
    def _places(self) -> Callable[..., Places]:
        return jax.jit(partial(encode_places, build_model(self._model.config)))

    @cached_property
    def _mean_text(self) -> np.ndarray:
        pool = self._model.pool
        return np.asarray(pool.text_embeddings[pool.one_row_per_study()].mean(axis=0, dtype=np.float64), np.float32)

    def finding_of(self, text: str) -> str:
        """The finding that a sentence affirms, where it is the only one and its map may be shown; "" else.

        In the words of drawn reports; of others the rules know more that deny ("free of effusion").
        """
        kinds = () if any(not said.affirmed for said in statements(text)) else affirmed_kinds(text)
        return kinds[0] if len(kinds) == 1 and kinds[0] in self.shown else ""

    def of(self, image: Any, text: Any) -> Heat:
        """The map of an image, as `images.grey_of` takes it, and a sentence: float32 (h, w), in the image's frame.

        Raises:
          InputError: the image cannot be read, or no map of the sentence has passed, or it is no string.
        """
        if not isinstance(text, str):
            raise InputError(f"text is a {type(text).__name__}; give a string")
        finding = self.finding_of(text)
        if not finding:
            known = ", ".join(sorted(self.shown)) or "none"
            raise InputError(f"no region of {text!r}: maps of this model passed for {known}; docs/regions.md says how")
        grey = images.grey_of(image)
        square = images.fit_square(grey, self._model.config["image_size"])
        return in_frame(self.heat(square, [text], self.shown[finding].map)[0], *grey.shape)

    def heat(self, square: UInt8[np.ndarray, "S S"], texts: Sequence[str], kind: str) -> Float[np.ndarray, "N S S"]:
        """A map of each text over the model's square, tested or not; `attention`, A_s, is one and the same for all.

        Raises:
          InputError: a text is blank, or the model has no such map.
        """
        side, towards = len(square), self._model.encode_text(texts) - self._mean_text
        if kind == OCCLUSION:
            variants, patches = hidden(square)
            z = self._model.encode_image([square, *variants])
            return np.stack([spread(drops, patches, side) for drops in ((z[0] - z[1:]) @ towards.T).T])
        places = self._places(self._model.variables, square[None, :, :, None])
        if kind == SIMILARITY:
            maps = np.einsum("hwe,ne->nhw", np.asarray(places.places[0]), towards)
        else:
            maps = np.repeat(np.asarray(places.attention), len(texts), axis=0)
        if not maps[0].size:
            raise InputError("image.spatial_attention is off: this model has no A_s")
        return np.stack([enlarged(each, side) for each in maps])


def offered(folder: Path, checkpoint: str) -> dict[str, Shown]:
    """What may be shown, by finding; nothing where another checkpoint was tested.

    Raises:
      InputError: OFFERED is damaged.
    """
    file = folder / OFFERED
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        shown = {str(finding): Shown(**of) for finding, of in about["shown"].items()}
        if not {of.map for of in shown.values()} <= set(MAPS):
            raise ValueError(f"maps are {', '.join(MAPS)}")
        if not all(0 <= of.pointing <= 1 and of.studies >= 0 for of in shown.values()):
            raise ValueError("pointing is 0 to 1, studies a number of them")
        return shown if checkpoint and about["checkpoint"] == checkpoint else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: damaged ({' '.join(str(error).split())}); remove it") from error
