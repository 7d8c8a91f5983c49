"""What the model says of images and texts, as the HTTP API has it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.labels.statements import Statement, sentences, statements
from cxr_jax.pages.charts import heat_png
from cxr_jax.retrieval.abstention import UNCHECKED
from cxr_jax.retrieval.draft import METHODS, NEIGHBOURS, Draft, Neighbours, Source
from cxr_jax.retrieval.heat import Heat
from cxr_jax.retrieval.model import Model, Neighbour
from cxr_jax.retrieval.rows import Row
from cxr_jax.server.limits import RefusedError

NO_DEVICE = "Not a medical device: nothing here is meant for diagnosis. Reports were written about other patients."
MOST = NEIGHBOURS  # neighbours that may be asked for
SHADED = 0.15  # of a region's square


class ImageQuestion(NamedTuple):
    """An image, uint8 (side, side), whose neighbours and draft are asked for; `abstain` withholds a doubted one."""

    square: np.ndarray
    method: str
    top_k: int
    abstain: bool = False


class TextQuestion(NamedTuple):
    """A text whose nearest images are asked for."""

    text: str
    top_k: int


class RegionQuestion(NamedTuple):
    """An image, uint8 (side, side), in which the region of a sentence is asked for that `Answers.finding_of` knows."""

    square: np.ndarray
    text: str


class Answers:
    """A model's answers; all but `about` and the studies is asked for by one thread.

    Raises:
      InputError: the model has no pool, or which regions it may show cannot be read.
    """

    def __init__(self, model: Model):
        self.model, self._pool, self._regions = model, model.pool, model.regions
        self.method = model.config["draft"]["method"]
        columns = model.pool.columns
        ids = (study.decode("utf-8") for study in columns.study_ids.tolist())
        self._first_row = dict(zip(ids, columns.first_rows().tolist(), strict=True))

    @cached_property
    def about(self) -> dict[str, Any]:
        """Which model answers, and what it was trained on."""
        data = self.model.config["data"]
        return {
            "notice": NO_DEVICE,
            "trained_on": data["description"],
            "drawn": data["dataset"] == "phantom",
            "studies": len(self._first_row),
            "step": self._pool.step,
            "method": self.method,
            "methods": list(METHODS),
            "most_neighbours": MOST,
            "regions": {finding: of._asdict() for finding, of in self._regions.shown.items()},
        }

    def warm_up(self, batch: int) -> None:
        """Has compiled what images that come `batch` at a time, and the texts of a search, need."""
        side = self.model.config["image_size"]
        self.reports([ImageQuestion(np.zeros((side, side), np.uint8), self.method, 1)] * batch)
        self.searches([TextQuestion("a radiograph", 1)] * batch)

    def reports(self, questions: Sequence[ImageQuestion]) -> list[dict[str, Any]]:
        """{"neighbours", "draft", "warnings"} of each."""
        squares = [question.square for question in questions]
        embeddings = self.model.encode_image(np.stack(squares))
        voting = self.model.neighbours(embeddings)
        doubts = self.model.doubts(squares, embeddings, voting)
        nearest = self.model.retrieve_embedded(embeddings, max(question.top_k for question in questions))
        drafts: dict[int, Draft] = {}
        for method in {question.method for question in questions}:
            rows = [number for number, question in enumerate(questions) if question.method == method]
            theirs = Neighbours(voting.rows[rows], voting.similarity[rows])
            drafts |= dict(zip(rows, self.model.draft_embedded(embeddings[rows], method, theirs), strict=True))
        return [
            self._report(drafts[number].doubted(doubts[number], question.abstain), nearest[number][: question.top_k])
            | {"warnings": [*doubts[number], *self._unchecked(question)]}
            for number, question in enumerate(questions)
        ]

    def _unchecked(self, question: ImageQuestion) -> list[str]:
        return [UNCHECKED] if question.abstain and self.model.checks is None else []

    def searches(self, questions: Sequence[TextQuestion]) -> list[dict[str, Any]]:
        """{"neighbours"} of each."""
        texts = [question.text for question in questions]
        found = self.model.retrieve_images_each(texts, max(question.top_k for question in questions))
        return [
            {"neighbours": [_neighbour(neighbour) for neighbour in line[: question.top_k]]}
            for line, question in zip(found, questions, strict=True)
        ]

    def finding_of(self, text: str) -> str:
        """The finding in `about`'s regions that a sentence affirms; "" where it has no region to be shown."""
        return self._regions.finding_of(text)

    def regions(self, questions: Sequence[RegionQuestion]) -> list[bytes]:
        """Each one's map over the square, a PNG of its size, clear where it is low."""
        maps = [self._regions.shown[self.finding_of(question.text)].map for question in questions]
        heats = (self._regions.heat(one.square, [one.text], of)[0] for one, of in zip(questions, maps, strict=True))
        return [heat_png(_as_bytes(heat)) for heat in heats]

    def study(self, study_id: str) -> dict[str, Any]:
        """A study of the pool by its id: its report and its labels; raises a RefusedError where there is none."""
        row: Row = self._pool.rows[self._row(study_id)]
        return {"study_id": row.study_id, "report": row.report, "labels": list(row.labels)}

    def thumbnail(self, study_id: str) -> bytes:
        """Its first image, as a JPEG; raises as `study`."""
        return self._pool.thumbnails[self._row(study_id)]

    def _row(self, study_id: str) -> int:
        if study_id not in self._first_row:
            raise RefusedError(404, "there is no such study in the pool")
        return self._first_row[study_id]

    def _report(self, draft: Draft, neighbours: Sequence[Neighbour]) -> dict[str, Any]:
        said = statements(draft.text)
        return {
            "neighbours": [{**_neighbour(near), "sentences": marked(near.row.report, said)} for near in neighbours],
            "draft": {
                "text": draft.text,
                "method": draft.method,
                "withheld": draft.withheld,
                "sentences": [
                    {
                        "text": sentence.text,
                        "share": round(sentence.share, 4),
                        "evidence": self._sources(sentence.sources),
                        "against": self._sources(sentence.against),
                        "region": self.finding_of(sentence.text) or None,
                    }
                    for sentence in draft.sentences
                ],
            },
        }

    def _sources(self, sources: Sequence[Source]) -> list[dict[str, Any]]:
        rows = self._pool.rows
        return [{"study_id": rows[s.row].study_id, "similarity": round(s.similarity, 4)} for s in sources]


def _as_bytes(heat: Heat) -> np.ndarray:
    """Its highest SHADED of the places; that a map points is tested, not how it falls off."""
    low, high = float(np.quantile(heat, 1 - SHADED)), float(heat.max())
    return np.round(255 * np.clip((heat - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)


def marked(report: str, said: frozenset[Statement]) -> list[dict[str, str]]:
    """A report's sentences, and how each stands to what a draft says: "agrees", "contradicts" or "" (neither).

    One that affirms the same of the other side does neither.
    """
    lines = []
    for text in sentences(report):
        own = statements(text)
        against = any(statement.contradicts(other) for statement in own for other in said)
        agrees = any(one.implies(other) or other.implies(one) for one in own for other in said)
        lines.append({"text": text, "stands": "contradicts" if against else "agrees" if agrees else ""})
    return lines


def _neighbour(neighbour: Neighbour) -> Mapping[str, Any]:
    row = neighbour.row
    return {"study_id": row.study_id, "similarity": round(neighbour.similarity, 4), "report": row.report}
