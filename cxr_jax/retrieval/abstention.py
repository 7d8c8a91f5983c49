"""When to keep silent: whether an image, its embedding and its neighbours' vote are as those of validation images.

Selective prediction with a reject option (El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017): each measure says how
far an image is to be trusted, and what falls below its limit is doubted. Limits are quantiles of the validation split,
so that a stated share of it is kept. docs/abstention.md has what they tell apart.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from cxr_jax.data import images
from cxr_jax.errors import InputError
from cxr_jax.files import write_json
from cxr_jax.retrieval.draft import Neighbours, voters_of
from cxr_jax.retrieval.likeness import Exemplars
from cxr_jax.retrieval.search import Candidates
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.voting import agreement, vote_weights

FILE = "abstention.json"  # in an index's folder
EXEMPLARS = 1024  # training pictures that others are held against, at most
VALIDATION = 4096  # images that limits are chosen by, at most
NEAREST = 5  # training images that an embedding's distance is the mean of
# Of the validation split: the shares that pass. Pictures that are none of a chest lie far off, and few need be lost.
KEPT = {"likeness": 0.99, "upright": 0.99, "sides": 0.99, "polarity": 0.99, "embedding": 0.95, "agreement": 0.95}
POSES = ("upright", "sides", "polarity")  # what a picture is held against itself for
ROUNDING = 1e-6
UNCHECKED = "not checked: the index is of an older version and holds no limits for it; export or train the run anew"


class Measures(NamedTuple):
    """How far each of N images is to be trusted; more is better.

    Attributes:
      likeness: correlation with the training picture that is most alike, `likeness.Exemplars`.
      upright, sides, polarity: by how much that is more than of the picture upside down, mirrored, and inverted.
      embedding: mean cosine to the NEAREST training images.
      agreement: how far the neighbours' reports agree, `voting.agreement`.
    """

    likeness: Float[np.ndarray, " N"]
    upright: Float[np.ndarray, " N"]
    sides: Float[np.ndarray, " N"]
    polarity: Float[np.ndarray, " N"]
    embedding: Float[np.ndarray, " N"]
    agreement: Float[np.ndarray, " N"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is below them is doubted: {measure: limit}; and the 1/τ of the vote that they were chosen with."""

    lowest: dict[str, float]
    scale: float

    @classmethod
    def chosen(cls, val: Measures, scale: float) -> "Limits":
        """Those that keep KEPT of a validation split, which has one image at least."""
        named = val._asdict().items()
        return cls({name: float(np.quantile(v, 1 - KEPT[name], method="lower")) for name, v in named}, scale)

    def passed(self, measures: Measures) -> dict[str, np.ndarray]:
        """{measure: bool (N,), whether it is not below its limit}."""
        return {name: values >= self.lowest[name] - ROUNDING for name, values in measures._asdict().items()}


def save(folder: Path, limits: Limits, step: int, checkpoint: str) -> None:
    """Writes FILE into an index's folder, for the checkpoint that the index is of."""
    write_json(folder / FILE, {"step": step, "checkpoint": checkpoint, **dataclasses.asdict(limits)})


def load(folder: Path, pool: SplitIndex) -> Limits | None:
    """What `save` wrote; None where it is not there, or of another checkpoint than the pool's.

    Raises:
      InputError: the file is damaged.
    """
    file = folder / FILE
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        lowest = {name: float(content["lowest"][name]) for name in KEPT}
        of, limits = (content["step"], content["checkpoint"]), Limits(lowest, float(content["scale"]))
        if not np.isfinite([*lowest.values(), limits.scale]).all():
            raise ValueError("a number is not finite")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: damaged ({error}); remove it, and those of a run are chosen anew") from error
    return limits if of == (pool.step, pool.checkpoint) else None


class Gauge:
    """Measures images by a training split; its pictures are read and its embeddings put on the device here."""

    def __init__(self, train: SplitIndex):
        self._exemplars = Exemplars(thumbnails(train, evenly(len(train), EXEMPLARS)))
        self._embeddings = Candidates(train.image_embeddings)

    def measures(
        self, pictures: Iterable[np.ndarray], embeddings: np.ndarray, agreement: Float[np.ndarray, " N"]
    ) -> Measures:
        """Of images.

        Args:
          pictures: uint8 (H, W) each.
          embeddings: float32 (N, E), unit norm.
          agreement: of their neighbours.
        """
        likeness = self._exemplars.likeness(pictures)
        cosines, _ = self._embeddings.top_k(embeddings, NEAREST)
        return Measures(
            likeness.itself,
            likeness.itself - likeness.upside_down,
            likeness.itself - likeness.mirrored,
            likeness.itself - likeness.inverted,
            cosines.mean(axis=1).astype(np.float64),
            np.asarray(agreement, np.float64),
        )


def reasons(measures: Measures, limits: Limits) -> list[tuple[str, ...]]:
    """Why each image is doubted, a line a reason; most often nothing."""
    passed = limits.passed(measures)
    lines: list[tuple[str, ...]] = []
    for number in range(len(measures.likeness)):
        value = {name: float(values[number]) for name, values in measures._asdict().items()}
        failed = [name for name, of in passed.items() if not of[number]]
        if "likeness" in failed:
            # It is a chest in another pose where it would pass in that one, and else no chest, which has no pose.
            least = limits.lowest["likeness"] - ROUNDING
            posed = {name for name in POSES if name in failed and value["likeness"] - value[name] >= least}
            left_out = {"likeness", *POSES} - (posed or {"likeness"})
            failed = [name for name in failed if name not in left_out]
        lines.append(tuple(_REASONS[name].format(value[name], limits.lowest[name]) for name in failed))
    return lines


_REASONS = {
    "likeness": "unlike the training images: highest correlation with one of them {:.2f}, less than {:.2f}",
    "upright": "upside down: more like the training images as it stands than turned by {:+.2f}, less than {:+.2f}",
    "sides": "mirrored: more like the training images as it stands than mirrored by {:+.3f}, less than {:+.3f}",
    "polarity": "inverted: more like the training images as it stands than inverted by {:+.2f}, less than {:+.2f}",
    "embedding": "far from the training images: mean cosine to the nearest {:.3f}, less than {:.3f}",
    "agreement": "no agreement: the neighbours' reports agree by {:.2f}, less than {:.2f}",
}


class Checks:
    """A training split's gauge, and the limits of what it measures."""

    def __init__(self, gauge: Gauge, limits: Limits):
        self.gauge, self.limits = gauge, limits

    def of_another_pool(self) -> "Checks":
        """The same, but that neighbours may disagree as they like: how far others' do is not known."""
        return Checks(self.gauge, dataclasses.replace(self.limits, lowest={**self.limits.lowest, "agreement": 0.0}))

    def doubts(
        self, pictures: Iterable[np.ndarray], embeddings: np.ndarray, agreement: Float[np.ndarray, " N"]
    ) -> list[tuple[str, ...]]:
        """`reasons` of images, as `Gauge.measures` takes them."""
        return reasons(self.gauge.measures(pictures, embeddings, agreement), self.limits)


def measures_of(
    split: SplitIndex, train: SplitIndex, gauge: Gauge, scale: float, voters: Neighbours | None = None
) -> Measures:
    """Of a split's images, by its index alone: its thumbnails stand for the pictures.

    Args:
      train: the pool that votes, and that the gauge is of.
      scale: 1/τ of the vote.
      voters: `voters_of` these, where they are at hand.

    Raises:
      InputError: a study of the split is in the pool, or they are of different checkpoints.
    """
    voters = voters_of(split, train) if voters is None else voters
    agree = agreement(train.reports, voters.rows, vote_weights(voters.similarity, scale))
    return gauge.measures(thumbnails(split, range(len(split))), np.asarray(split.image_embeddings), agree)


def limits_of(val: SplitIndex, train: SplitIndex, gauge: Gauge, scale: float) -> Limits | None:
    """Limits that a validation split gives, of VALIDATION images of it at most; None where it is empty.

    Args, Raises: as `measures_of`.
    """
    part = val.take(evenly(len(val), VALIDATION))
    return Limits.chosen(measures_of(part, train, gauge, scale), scale) if len(part) else None


def thumbnails(index: SplitIndex, rows: Iterable[int]) -> Iterator[np.ndarray]:
    """Pictures of an index's rows, uint8 (H, W) each."""
    return (images.decode(index.thumbnails[row]) for row in rows)


def evenly(count: int, most: int) -> list[int]:
    """Of so many rows at most `most`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []
