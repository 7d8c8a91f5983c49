"""What a run's drafts say of a split's images: their texts, and the data's labels that go with them."""

from collections.abc import Sequence

import numpy as np

from cxr_jax.evaluation.scoring import Predicted
from cxr_jax.labels.indicators import indicators
from cxr_jax.retrieval.draft import Neighbours
from cxr_jax.retrieval.model import Model
from cxr_jax.retrieval.store import SplitIndex
from cxr_jax.retrieval.voting import best_thresholds, vote_weights, weigh


def predictions_of(model: Model, query: SplitIndex, val: SplitIndex, method: str) -> list[Predicted]:
    """A draft's text and labels for each image.

    The labels of a whole report are its study's; those of a text that is put together are voted as its observations
    are, each from the weight on that gives the highest F1 on the validation split.

    Raises:
      InputError: there is no such method.
    """
    pool, embeddings = model.pool, np.asarray(query.image_embeddings)
    neighbours = model.neighbours(embeddings)
    drafts = model.draft_embedded(embeddings, method, neighbours)
    whole = [Predicted(draft.text, pool.rows[draft.row].labels, draft.row) for draft in drafts if draft.row is not None]
    if len(whole) == len(drafts):
        return whole
    names = sorted({label for row in pool.rows for label in row.labels})
    truth = indicators([row.labels for row in val.rows], names)
    of_val = _label_votes(model, model.neighbours(np.asarray(val.image_embeddings)), names)
    called = _label_votes(model, neighbours, names) >= best_thresholds(truth, of_val)
    labels = [tuple(names[column] for column in np.flatnonzero(line).tolist()) for line in called]
    return [Predicted(draft.text, found, None) for draft, found in zip(drafts, labels, strict=True)]


def _label_votes(model: Model, neighbours: Neighbours, names: Sequence[str]) -> np.ndarray:
    distinct, place = np.unique(neighbours.rows, return_inverse=True)
    has = indicators([model.pool.rows[row].labels for row in distinct.tolist()], names)
    return weigh(has, place.reshape(neighbours.rows.shape), vote_weights(neighbours.similarity, model.scale))
