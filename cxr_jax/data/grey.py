"""From values of more than 8 bits to 8-bit grey: one rule for every format, which no single pixel can tip.

Most of it is computed on the distinct values of a picture and how many pixels have each, not on the pixels.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

TRIMMED = 0.001  # of the pixels, at either end: they have no say in the range
BINS = 256
# Of the pixels: a bin with no more than THIN is taken for empty, for the soft edges of burnt-in letters lie there, as
# long as all of those hold no more than SOFT, or EDGES where that is all that there is of letters.
THIN, SOFT, EDGES = 5e-4, 0.02, 0.005
SOME, FEW = 0.01, 0.05  # of the pixels: fewer are no picture; no more are letters, where they lie apart from the rest
# Of the range: the empty stretch beyond which few pixels are left out, and any number of one brightness.
APART, FAR_APART = 1 / 3, 2 / 3
# Of the rest's range: what is no wider is of one brightness; what is wider is no letter, but a picture on plain ground.
NARROW, WIDE = 1 / 16, 16
FLAT = 4.0  # grey levels: a picture whose standard deviation is below this shows nothing
MAX_LEVELS = 2**22
FEW_STEPS, FRAME = 3, 1024  # of whole numbers, of pixels: no picture of so many lies between so few


class ImageWarning(UserWarning):
    """A picture was read, but something had to be guessed or left out, or it shows nothing."""


class Picture(NamedTuple):
    """A radiograph as it is looked at.

    Attributes:
      grey: uint8 (H, W), air black and bone white.
      warnings: what was guessed or left out, "kind: what exactly" each; equal kinds are counted together.
    """

    grey: np.ndarray
    warnings: tuple[str, ...] = ()


def kind_of(warning: str) -> str:
    """What kind of warning a `Picture`'s is."""
    return warning.partition(":")[0]


class Levels(NamedTuple):
    """The values that a picture holds.

    Attributes:
      values: float64 (n,), each once.
      counts: int64 (n,), how many pixels have it; 0 where they shall have no say.
      places: intp (H, W), which of the values each pixel has.
    """

    values: np.ndarray
    counts: np.ndarray
    places: np.ndarray


def levels_of(pixels: np.ndarray) -> Levels:
    """The levels of integers or floats (H, W), ascending."""
    if pixels.dtype.kind in "biu" and pixels.size:
        first, last = int(pixels.min()), int(pixels.max())
        if last - first < MAX_LEVELS:
            index = pixels.astype(np.intp)
            if first:
                index -= first
            return Levels(np.arange(first, last + 1, dtype=np.float64), np.bincount(index.reshape(-1)), index)
    values, index, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    return Levels(values.astype(np.float64), counts, index.reshape(pixels.shape))


def own_range(values: np.ndarray, counts: np.ndarray) -> tuple[float, float, list[str]]:
    """The range that becomes black to white where nothing says which: (lowest, highest, warnings).

    Of the pixels, 0.1 % at either end have no say. Nor have those that lie far from the rest: few (burnt-in letters,
    hot rows), or many of one brightness (a border), which are black or white then. Values that are not finite do not
    count; of a picture of one value, or of none, the range is empty.
    """
    use = (counts > 0) & np.isfinite(values)
    order = np.argsort(values[use], kind="stable")
    values, counts = values[use][order], counts[use][order]
    total = counts.sum()
    warnings: list[str] = []
    while len(values) > 1:
        low, high = _quantile(values, counts, TRIMMED), _quantile(values, counts, 1 - TRIMMED)
        if not high > low:
            low, high = values[0], values[-1]
        kept = _without_outliers(values, counts, low, high)
        left_out = counts[~kept].sum() / total
        if not left_out:
            if total >= FRAME and high - low < FEW_STEPS and np.array_equal(values, np.round(values)):
                high = low + BINS  # a blank frame and its noise: stretched, it would look like a picture
            return float(low), float(high), warnings
        if left_out > TRIMMED:
            side, colour = ("below", "black") if not kept[0] else ("above", "white")
            ends = " to ".join(f"{end:g}" for end in values[kept][[0, -1]])
            warnings.append(
                f"range cut: {left_out:.1%} of the pixels lie far {side} the rest ({ends}) and are shown {colour}"
            )
        values, counts = values[kept], counts[kept]
    end = float(values[0]) if len(values) else 0.0
    return end, end, warnings


def _quantile(values: np.ndarray, counts: np.ndarray, share: float) -> float:
    """Of ascending values, a pixel's: the one that `share` of the pixels, rounded towards the nearer end, go before."""
    last = counts.sum() - 1
    trimmed = int(min(share, 1 - share) * (last + 1))
    rank = trimmed if share < 0.5 else last - trimmed
    return values[np.searchsorted(np.cumsum(counts), rank, side="right")]


def _without_outliers(values: np.ndarray, counts: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which of ascending values to keep, bool (n,): not those beyond the longest empty stretch, where they may go."""
    everything = np.ones(len(values), bool)
    with np.errstate(over="ignore"):
        place = (values - low) / (high - low) * (BINS - 1)
    bins = np.round(np.clip(place, 0, BINS - 1)).astype(np.intp)
    shares = np.bincount(bins, counts, BINS) / counts.sum()
    full = np.flatnonzero(shares > THIN)
    before, after = np.concatenate([[-1], full]), np.concatenate([full, [BINS]])
    longest = np.argmax(after - before)
    stretch = (after - before)[longest] / (BINS - 1)
    if stretch <= APART or not len(full):
        return everything
    parts = bins <= before[longest], bins >= after[longest]
    share = [counts[part].sum() / counts.sum() for part in parts]
    soft = 1 - sum(share)
    if soft > SOFT:
        return everything
    spread = [_spread(values[part], counts[part]) for part in parts]
    sides = ((0, 1), (1, 0))
    for mine, other in sides:
        # Letters are more than their edges; much that thins out towards an end, where TRIMMED always is, is none.
        letters = share[other] <= FEW and (soft <= EDGES or soft / 2 <= share[other] - TRIMMED)
        if spread[mine] > 0 and letters and spread[other] <= WIDE * spread[mine]:
            return parts[mine]
    for mine, other in sides:
        plain = spread[other] <= NARROW * spread[mine] and soft <= EDGES
        if spread[mine] > 0 and share[mine] >= SOME and plain and stretch > FAR_APART:
            return parts[mine]
    return everything


def _spread(values: np.ndarray, counts: np.ndarray) -> float:
    return _quantile(values, counts, 1 - TRIMMED) - _quantile(values, counts, TRIMMED) if len(values) else 0.0


def to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`low` to `high` as 0 to 255, what lies outside cut, NaN 0; all 0 where there is nothing between them."""
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = np.nan_to_num((values - low) / (high - low), nan=0.0)
    return np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def stretched(pixels: np.ndarray) -> Picture:
    """Integers or floats (H, W) of any range, by `own_range`."""
    levels = levels_of(pixels)
    low, high, warnings = own_range(levels.values, levels.counts)
    strange = levels.counts[~np.isfinite(levels.values)].sum()
    if strange:
        warnings.append(f"not finite: {strange:,} pixels are not a number or infinite; shown black, +∞ white")
    return Picture(to_bytes(levels.values, low, high)[levels.places], tuple(warnings))


def deviation(grey: np.ndarray, counts: np.ndarray) -> float:
    """The standard deviation of a picture, its grey levels (n,) given with how many pixels have each."""
    total = max(int(counts.sum()), 1)
    mean = (grey * counts).sum() / total
    return float(np.sqrt(((grey - mean) ** 2 * counts).sum() / total))


def looked_at(picture: Picture) -> Picture:
    """The picture, with a warning where it shows nothing; of a large one every second or third pixel is looked at."""
    step = 1 + min(picture.grey.shape) // 1024
    part = np.ascontiguousarray(picture.grey[::step, ::step])
    counts = np.array(Image.fromarray(part).histogram())
    spread = deviation(np.arange(256), counts)
    if spread >= FLAT:
        return picture
    warning = f"flat picture: nearly one grey (mean {part.mean():.0f}, standard deviation {spread:.1f} of 255)"
    return Picture(picture.grey, (*picture.warnings, warning))
