"""One self-contained HTML page of an evaluation: the scores beside their floors, then the retrieved reports to read.

The file opens from a disk, needs no network and loads nothing. Every string on it is escaped, for reports are text of
unknown origin, and a content security policy forbids all but the page's own style and script (page.css and page.js).
"""

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxr_jax.evaluation.agreement import AGREES, ALONE, CONTRADICTS, Judged, judge
from cxr_jax.evaluation.charts import heat_png
from cxr_jax.evaluation.labels import find_mentions, rule_labels, split_sentences

_VERDICTS = {
    AGREES: "the other report says the same",
    CONTRADICTS: "the other report says the opposite, or the other side",
    ALONE: "the other report is silent on it",
}


@dataclass(frozen=True)
class Neighbour:
    """A retrieved training study: image is JPEG bytes, similarity the cosine to the query image."""

    study_id: str
    image: bytes
    report: str
    labels: Collection[str]
    similarity: float


@dataclass(frozen=True)
class Case:
    """A query study: image is JPEG bytes, report the true one, neighbours nearest first, rouge_l that of the first.

    attention: A_s of Eq. (11) over the image fitted into a square, uint8 (h, w) of 0 to 1, or None.
    """

    study_id: str
    image: bytes
    report: str
    labels: Collection[str]
    neighbours: Sequence[Neighbour]
    rouge_l: float
    attention: np.ndarray | None = None


class Table(NamedTuple):
    """A table of formatted cells; the first cell of a row names it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_page(
    path: str | Path,
    title: str,
    summary: tuple[Sequence[str], Sequence[Sequence[str]]],
    cases: Sequence[Case],
    notes: Sequence[str] = (),
    pictures: Sequence[str] = (),
) -> None:
    """Writes the page to `path` (its folder must exist).

    summary: a `Table` or (columns, rows), the scores with their floors beside them.
    notes: sentences shown above the cases, such as what the images are.
    pictures: HTML of `charts`, shown above the table, which is folded then.

    An image that several cases show is embedded once. What the rule labeller reads in a retrieved report is marked by
    whether the true one agrees, contradicts or is silent, and in the true one by the nearest; its labels can be shown
    sentence by sentence, and A_s over the query images. Cases can be filtered by words and by finding (the data's own
    labels, or the rule labels where it has none) and ordered by how well they were answered; the address keeps the
    choice.

    Raises ValueError for a row that does not fit the columns, or an image that is no JPEG.
    """
    images = _Images()
    of_data = any(case.labels for case in cases)
    findings = [set(case.labels) if of_data else set(rule_labels([case.report])[0]) for case in cases]
    articles = "\n".join(
        _case(number, case, found, images)
        for number, (case, found) in enumerate(zip(cases, findings, strict=True), start=1)
    )
    options = "".join(f"<option>{escape(label)}</option>" for label in sorted(set().union(*findings)))
    by_finding = f"""<label>Finding <select id="finding"><option value="">all</option>{options}</select></label>"""
    attended = any(case.attention is not None for case in cases)
    noted = "".join(f"<p>{escape(note)}</p>" for note in notes)
    table, script = _table(Table(*summary)), _own("page.js")
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    key = ", ".join(f'<mark class="{verdict}">{verdict}</mark>: {text}' for verdict, text in _VERDICTS.items())
    body = f"""<header>
<h1>{escape(title)}</h1>
{f'<div class="notes">{noted}</div>' if noted else ""}
{"".join(pictures)}
{f"<details><summary>The scores as a table</summary>{table}</details>" if pictures else table}
</header>
<main>
<div class="bar">
<label>Filter <input type="search" id="filter" placeholder="words in reports, labels, study ids"></label>
{by_finding if options else ""}
<label>Order <select id="order"><option value="">as in the split</option><option value="best">best first</option>
<option value="worst">worst first</option><option value="similar">most similar first</option></select></label>
{'<label><input type="checkbox" id="attention"> attention</label>' if attended else ""}
<label><input type="checkbox" id="sentences"> labels by sentence</label>
<output id="count" for="filter">{len(cases)} cases</output></div>
<p class="key">What the rule labeller reads is marked. {key}.</p>
{articles}
</main>
<dialog id="zoom" aria-label="Enlarged image"><div></div></dialog>
<script>{script}</script>"""
    _write_document(path, title, body, images.rules(), f"; img-src data:; script-src 'sha256-{script_hash}'")


def write_tables(path: str | Path, title: str, tables: Mapping[str, Table]) -> None:
    """Writes a page of titled tables to `path` (its folder must exist), in the style of `write_page`."""
    body = "\n".join(f"<h2>{escape(name)}</h2>\n{_table(table)}" for name, table in tables.items())
    rules = "body > h2 { margin: 2rem 0 .5rem; } tbody tr:first-child > * { font-weight: inherit; }"
    _write_document(path, title, f"<h1>{escape(title)}</h1>\n{body}", rules)


def _own(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _write_document(path: str | Path, title: str, body: str, rules: str, policy: str = "") -> None:
    """The page round `body`: `rules` follow the common style, `policy` adds to what may be loaded, which is nothing."""
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{_own("page.css")}{rules}</style>
</head>
<body>
{body}
</body>
</html>
"""
    # A report may hold a lone surrogate from a badly decoded file; a "?" in its place beats no page.
    Path(path).write_text(page, encoding="utf-8", errors="replace")


class _Images:
    """Hands out one CSS class for each distinct image, so that its bytes stand in the page once."""

    def __init__(self):
        self._classes: dict[bytes, str] = {}

    def figure(self, image: bytes, description: str, over: str = "") -> str:
        if not image.startswith(b"\xff\xd8"):
            raise ValueError(f"{description}: the image is no JPEG")
        name = self._classes.setdefault(image, f"i{len(self._classes)}")
        return f'<button type="button" class="xray {name}" aria-label="{escape(description)}, enlarge">{over}</button>'

    def rules(self) -> str:
        return "\n".join(
            f".{name}{{background-image:url(data:image/jpeg;base64,{base64.b64encode(image).decode()})}}"
            for image, name in self._classes.items()
        )


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"row {row!r} has {len(row)} cells for {len(table.columns)} columns")
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in table.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _case(number: int, case: Case, findings: Collection[str], images: _Images) -> str:
    true = find_mentions(case.report)
    found = [find_mentions(neighbour.report) for neighbour in case.neighbours]
    retrieved = "\n".join(
        f"""<section>
{images.figure(neighbour.image, f"Retrieved study {neighbour.study_id}")}
<div>
<h3>{neighbour.similarity:.3f} <span class="id">{escape(neighbour.study_id)}</span></h3>
<p>{_report(neighbour.report, judge(mentions, true))}</p>
{_labels(neighbour.labels, case.labels)}</div>
</section>"""
        for neighbour, mentions in zip(case.neighbours, found, strict=True)
    )
    similarity = max((neighbour.similarity for neighbour in case.neighbours), default=0.0)
    over, scale = _attention(case.attention)
    return f"""<article data-rouge="{case.rouge_l:.4f}" data-similarity="{similarity:.4f}"
 data-labels="{escape(json.dumps(sorted(findings)))}">
<div class="query">
<h2>{number} <span class="id">{escape(case.study_id)}, ROUGE-L {case.rouge_l:.3f}</span></h2>
{images.figure(case.image, f"Query study {case.study_id}", over)}
{scale}<h3>True report</h3>
<p>{_report(case.report, judge(true, found[0]) if found else [])}</p>
{_labels(case.labels)}
</div>
<div>
<h3>Retrieved <span class="id">training studies, by cosine similarity</span></h3>
<div class="retrieved">
{retrieved}
</div>
</div>
</article>"""


def _attention(attention: np.ndarray | None) -> tuple[str, str]:
    """The map to lay over the square image, and what its colours stand for; both hidden until they are asked for."""
    if attention is None:
        return "", ""
    image = base64.b64encode(heat_png(attention)).decode()
    low, high = attention.min() / 255, attention.max() / 255
    return (
        f'<span class="heat" style="background-image:url(data:image/png;base64,{image})"></span>',
        f'<p class="range">spatial attention A_s: clear {low:.2f}, orange {high:.2f}</p>\n',
    )


def _labels(labels: Collection[str], shared_with: Collection[str] = ()) -> str:
    shared = set(shared_with)
    items = "".join(f"<li{' class=shared' if label in shared else ''}>{escape(label)}</li>" for label in sorted(labels))
    return f'<ul class="labels">{items}</ul>' if items else ""


def _report(report: str, judged: Sequence[Judged]) -> str:
    """The escaped report: its mentions marked by their verdicts, after each sentence the labels that it gives."""
    parts: list[str] = []
    written = 0
    for start, end in split_sentences(report):
        inside = [each for each in judged if start <= each.mention.start < end]
        for mention, verdict in inside:
            if mention.start < written:
                continue  # "hydropneumothorax" names two at once
            parts += [escape(report[written : mention.start]), f'<mark class="{verdict}" title="{_VERDICTS[verdict]}">']
            parts += [escape(report[mention.start : mention.end]), "</mark>"]
            written = mention.end
        parts.append(escape(report[written:end]))
        written = max(written, end)
        said = dict.fromkeys((m.status, m.observation, m.side) for m, _ in inside)
        parts += [_chip(*each) for each in said]
    return "".join(parts) + escape(report[written:])


def _chip(status: str, observation: str, side: str) -> str:
    text = {"positive": "", "uncertain": "? ", "negative": "no "}[status] + observation + (f", {side}" if side else "")
    return f'<span class="chip {status}">{escape(text)}</span>'
