"""The pointing game of a run: drawn studies of a split, whose findings' places are known, and the model's maps."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.data.images import fit_square
from cxr_jax.errors import InputError
from cxr_jax.evaluation.pointing_game import OTHER, USUAL, Trial, blind_maps, measured, usual_places
from cxr_jax.phantom.drawing import draw_frontal
from cxr_jax.phantom.regions import finding_region
from cxr_jax.phantom.release import study_findings_and_report
from cxr_jax.phantom.reports import Finding, state
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.regions import ATTENTION, MAPS
from cxr_jax.retrieval.store import SplitIndex


class Study(NamedTuple):
    """A drawn study: its picture as the model takes it, uint8 (side, side), and its findings with their regions there.

    `sentences` say each finding in one of the report's wordings.
    """

    study_id: str
    square: np.ndarray
    findings: tuple[Finding, ...]
    regions: tuple[np.ndarray, ...]
    sentences: tuple[str, ...]


def studies_of(config: Any, split: SplitIndex, limit: int) -> Iterator[Study]:
    """The split's first `limit` studies that show something in their frontal view, drawn again.

    Raises:
      InputError: the run's images are not the phantom's own, so that nobody knows where findings are.
    """
    data, side = config["data"], config["image_size"]
    if data["dataset"] != "phantom":
        raise InputError(f"data.dataset = {data['dataset']}: only of the phantom it is known where findings lie")
    found = 0
    for study_id in dict.fromkeys(row.study_id for row in split.rows):
        number = re.fullmatch(r"CXR(\d+)", study_id)
        if number is None:
            raise InputError(f"study {study_id} is none of the phantom's; take the run's own split")
        seed = [data["seed"], int(number[1])]
        findings, _ = study_findings_and_report(*seed)
        size, fitted = data["stored_size"], []
        for finding in findings:
            region = fit_square(255 * finding_region(findings, finding, seed, size).astype(np.uint8), side) > 63
            if region.any():
                fitted.append((finding, region, state(finding, np.random.default_rng(seed))))
        if fitted and found < limit:
            found += 1
            square = fit_square(draw_frontal(findings, seed, size), side)
            yield Study(study_id, square, *zip(*fitted, strict=True))
        if found == limit:
            return


def trials_of(
    model: Model, studies: Sequence[Study], progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> list[Trial]:
    """Each finding of the studies against A_s, where the model has it, the two maps, and what sees less.

    That is: blind maps, and each map of the same sentence in the image of the study before.
    """
    maps = (ATTENTION, *MAPS) if model.config["image"]["spatial_attention"] else MAPS
    rng = np.random.default_rng(0)
    regions = [region for study in studies for region in study.regions]
    usual = iter(usual_places(regions, [_placed(finding) for study in studies for finding in study.findings]))
    before = {name: _heats(model, studies[-1], studies[0], name)[1] for name in maps} if studies else {}
    trials = []
    for study, following in progress(list(zip(studies, [*studies[1:], studies[0]], strict=True))):
        heats = {name: _heats(model, study, following, name) for name in maps}
        for i, (finding, region) in enumerate(zip(study.findings, study.regions, strict=True)):
            own = {**blind_maps(region.shape, rng), USUAL: next(usual)}
            own |= {OTHER.format(name): before[name][i] for name in maps} | {name: heats[name][0][i] for name in maps}
            scores = {name: measured(heat, region) for name, heat in own.items()}
            trials.append(Trial(study.study_id, finding.kind, scores))
        before = {name: heats[name][1] for name in maps}
    return trials


def _heats(model: Model, study: Study, following: Study, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A map of a study's image: of its own sentences, and of the next study's."""
    heats = model.regions.heat(study.square, [*study.sentences, *following.sentences], name)
    return heats[: len(study.sentences)], heats[len(study.sentences) :]


def _placed(finding: Finding) -> str:
    """What a report says of where it is."""
    return f"{finding.kind} {finding.side} {finding.place}"
