"""The pointing game: does a map's highest place lie where the thing is? And IoU; beside maps that see nothing.

The game is Zhang et al.'s (2018, "Top-down neural attention by excitation backprop"), its tolerance too: 15 of VOC's
500 pixels. IoU is that of the region with the map's highest places, as many as the region has: no threshold is chosen.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from cxr_jax.evaluation.bootstrap import sample_and_resamples

TOLERANCE = 0.03  # of the image's side
MEASURES = ("pointing", "iou")
RANDOM, CENTRE, USUAL = "random", "centre", "usual place"
FLOORS = (RANDOM, CENTRE)  # that a map must beat, and its own of the OTHER image; USUAL is looked at beside them
OTHER = "{}, other image"  # the same map of the same sentence, where the image is another study's
FEWEST = 10  # studies that can tell whether a map passes
ENOUGH = 0.5  # a map that misses more often than it hits misleads, however blind the others are
ALL = "all"

Heat = Float[np.ndarray, "H W"]
Region = Bool[np.ndarray, "H W"]


class Trial(NamedTuple):
    """One finding of one study, and what each map's two MEASURES are of it."""

    study: str
    finding: str
    scores: Mapping[str, tuple[float, float]]


def measured(heat: Heat, region: Region) -> tuple[float, float]:
    """(1.0 where the map's highest place is within TOLERANCE of the region, else 0.0; IoU). The region is not empty.

    Of several that are highest it is the middle one; of equals at the end of what IoU takes, the first.
    """
    highest = np.argwhere(heat == heat.max())
    middle = highest[np.argmin(np.square(highest - highest.mean(axis=0)).sum(axis=1))]
    away = distance_transform_edt(~region)[tuple(middle)]
    marked = np.zeros(region.size, bool)
    marked[np.argsort(-heat, axis=None, kind="stable")[: int(region.sum())]] = True
    iou = (marked & region.ravel()).sum() / (marked | region.ravel()).sum()
    return float(away <= TOLERANCE * len(region)), float(iou)


def blind_maps(shape: tuple[int, int], rng: np.random.Generator) -> dict[str, Heat]:
    """FLOORS: noise, and what is the higher the nearer to the centre."""
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in shape)
    return {RANDOM: rng.random(shape), CENTRE: -np.hypot(rows[:, None], columns[None, :])}


def usual_places(regions: Sequence[Region], names: Sequence[str]) -> list[Heat]:
    """For each region, how often other studies have theirs at a place, those of the same name; in a hundredth the
    nearness to the centre, which tells where there is no other.
    """
    sums: dict[str, np.ndarray] = {}
    for region, name in zip(regions, names, strict=True):
        sums[name] = sums.get(name, 0) + region.astype(float)
    centre = blind_maps(regions[0].shape, np.random.default_rng(0))[CENTRE] / max(regions[0].shape) if regions else 0
    return [sums[name] - region + 0.01 * centre for region, name in zip(regions, names, strict=True)]


def summary(trials: Sequence[Trial], resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """By finding, and of ALL: how many studies, each map's measures with intervals, and which maps pass.

    A map passes where it points at ENOUGH of them, and beats each of FLOORS, and its OTHER, in both MEASURES: the 95 %
    interval of the difference, by paired bootstrap over studies, lies above 0; and there are FEWEST studies.

    Returns:
      {finding: {"studies": n, "scores": {map: {measure: [mean, low, high]}}, "passed": [maps]}}
    """
    result = {}
    for name in (ALL, *sorted({trial.finding for trial in trials})):
        own = [trial for trial in trials if name in (ALL, trial.finding)]
        studies = [trial.study for trial in own]
        weights = sample_and_resamples(len(own), studies, resamples, seed).astype(float)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
        # (resamples, measures) of each map, the sample itself first.
        means = {of: weights @ np.array([trial.scores[of] for trial in own]) for of in own[0].scores}
        judged = [of for of in means if OTHER.format(of) in means and len(set(studies)) >= FEWEST]
        passed = [of for of in judged if _passes(means, of)]
        scores = {of: dict(zip(MEASURES, _with_interval(values), strict=True)) for of, values in means.items()}
        result[name] = {"studies": len(set(studies)), "scores": scores, "passed": passed}
    return result


def _passes(means: Mapping[str, np.ndarray], of: str) -> bool:
    floors = (means[name] for name in (*FLOORS, OTHER.format(of)))
    lows = [np.percentile((means[of] - floor)[1:], 2.5, axis=0) for floor in floors]
    return bool(np.round(means[of][0, 0], 9) >= ENOUGH and np.all(np.array(lows) > 0))


def _with_interval(values: np.ndarray) -> list[list[float]]:
    low, high = np.percentile(values[1:], [2.5, 97.5], axis=0)
    return np.round(np.stack([values[0], low, high], axis=1), 4).tolist()


def offers(of_findings: Mapping[str, Any], maps: Collection[str]) -> dict[str, dict[str, Any]]:
    """The map to show of each finding, of `maps` that pass the one that points best: {"map", "pointing", "studies"}."""
    result = {}
    for finding, about in of_findings.items():
        pointing = {of: about["scores"][of][MEASURES[0]][0] for of in about["passed"] if of in maps}
        if finding != ALL and pointing:
            best = max(pointing, key=lambda of: pointing[of])
            result[finding] = {"map": best, "pointing": pointing[best], "studies": about["studies"]}
    return result


def table(of_findings: Mapping[str, Any], measure: str) -> str:
    """One measure as markdown: a line a finding, ALL last; 95 % intervals in brackets, bold what passes."""
    maps = list(of_findings[ALL]["scores"])
    blind = (*FLOORS, USUAL, *map(OTHER.format, maps))
    lines = [f"| {measure} | studies | {' | '.join(maps)} |", "|" + "---|" * (len(maps) + 2)]
    for finding in [*(name for name in of_findings if name != ALL), ALL]:
        about = of_findings[finding]
        cells = []
        for of in maps:
            mean, low, high = (f"{value:.2f}".replace("0.", ".") for value in about["scores"][of][measure])
            bold = f"**{mean}**" if of in about["passed"] else mean
            cells.append(bold if of in blind else f"{bold} ({low}, {high})")
        lines.append(f"| {finding} | {about['studies']} | {' | '.join(cells)} |")
    return "\n".join(lines)
