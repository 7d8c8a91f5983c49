"""The cases that a page shows: which of a split's, and what is known of each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxr_jax.evaluation.protocols import report_preparers
from cxr_jax.evaluation.scoring import Predicted, nearest_of
from cxr_jax.evaluation.text_metrics import rouge_l
from cxr_jax.labels.rules import rule_labels
from cxr_jax.retrieval.store import SplitIndex

PAGE_CASES = 200  # that a page shows at most


@dataclass(frozen=True)
class RetrievedStudy:
    """A retrieved study: image is JPEG bytes, b"" where the pool has none, similarity the cosine to the query image.

    A draft that is put together of several stands as one whose study_id says how, without image and similarity.
    """

    study_id: str
    image: bytes
    report: str
    labels: Collection[str]
    similarity: float | None


@dataclass(frozen=True)
class Case:
    """A query study: image is JPEG bytes, report the true one, neighbours nearest first.

    rouge_l and rule_f1 score the first neighbour's report; without a true report rouge_l is None. attention is A_s of
    Eq. (11), uint8 (h, w) of 0 to 1, cell the side of one of its places over that of the square that the model sees:
    where these do not divide, as 312 pixels in places of 32, the right and lower rim belongs to none.
    """

    study_id: str
    image: bytes
    report: str
    labels: Collection[str]
    neighbours: Sequence[RetrievedStudy]
    rouge_l: float | None = None
    rule_f1: float | None = None
    attention: np.ndarray | None = None
    cell: float = 0.0  # 0: the map covers the whole square


def map_cell(config: Mapping[str, Any]) -> float:
    """The side of a place of A_s over that of the square image.

    DenseNet halves the side twice, and once more between any two blocks.
    """
    return 2 ** (len(config["image"]["block_sizes"]) + 1) / config["image_size"]


def chosen_cases(rouge: np.ndarray, limit: int) -> np.ndarray:
    """Rows, ascending: all, or an eighth of `limit` the best by ROUGE-L, an eighth the worst, the others spread evenly.

    Args:
      rouge: (n,), of each row's nearest report.
    """
    if len(rouge) <= limit:
        return np.arange(len(rouge))
    order, extremes = np.argsort(-rouge, kind="stable"), limit // 8
    between = np.sort(order[extremes : len(order) - extremes])
    spread = between[np.linspace(0, len(between) - 1, limit - 2 * extremes).round().astype(int)]
    return np.sort(np.concatenate([order[:extremes], spread, order[len(order) - extremes :]]))


def cases_of(
    query: SplitIndex,
    train: SplitIndex,
    similarity: np.ndarray,
    rows: np.ndarray,
    limit: int,
    cell: float,
    predicted: Sequence[Predicted] | None = None,
) -> list[Case]:
    """The page's cases, those of `chosen_cases`.

    Args:
      cell: `map_cell`.
      predicted: drafts that stand before the retrieved studies, where they are not the nearest report.
    """
    prepare, _ = report_preparers("raw")
    answers = [prediction.text for prediction in predicted or nearest_of(train, rows)]
    drafts = [[_draft(prediction, train)] for prediction in predicted] if predicted else [[] for _ in rows]
    rouge = rouge_l([prepare(row.report) for row in query.rows], [prepare(answer) for answer in answers])
    chosen = chosen_cases(rouge, limit)
    true = rule_labels([query.rows[i].report for i in chosen])
    answered = rule_labels([answers[i] for i in chosen])
    return [
        Case(
            query.rows[i].study_id,
            query.thumbnails[i],
            query.rows[i].report,
            query.rows[i].labels,
            drafts[i]
            + [
                RetrievedStudy(
                    train.rows[r].study_id, train.thumbnails[r], train.rows[r].report, train.rows[r].labels, float(s)
                )
                for s, r in zip(similarity[i], rows[i], strict=True)
            ],
            float(rouge[i]) if query.rows[i].report else None,
            2 * len(a & b) / (len(a) + len(b)) if (a or b) and query.rows[i].report else None,
            None if query.attention is None else query.attention[i],
            cell,
        )
        for i, a, b in zip(chosen, true, answered, strict=True)
    ]


def _draft(prediction: Predicted, train: SplitIndex) -> RetrievedStudy:
    if prediction.row is None:
        return RetrievedStudy("put together", b"", prediction.text, prediction.labels, None)
    study = train.rows[prediction.row].study_id
    return RetrievedStudy(study, train.thumbnails[prediction.row], prediction.text, prediction.labels, None)
