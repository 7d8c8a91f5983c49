"""One self-contained HTML page of an evaluation: the scores beside their floors, then the retrieved reports to read.

The file opens from a disk, needs no network and loads nothing. Every string on it is escaped, for reports are text of
unknown origin, and a content security policy forbids all but the page's own style and script.
"""

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

_WORD = re.compile(r"\w+(?:[-']\w+)*")
# Any two reports share these, so alone they say nothing. "no" and "not" do.
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been by for from has have he her his in is it of on or she that the there this to was "
        "were which with",
    )
)


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
    """A query study: image is JPEG bytes, report the true one, neighbours nearest first, rouge_l that of the first."""

    study_id: str
    image: bytes
    report: str
    labels: Collection[str]
    neighbours: Sequence[Neighbour]
    rouge_l: float


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
) -> None:
    """Writes the page to `path` (its folder must exist).

    summary: a `Table` or (columns, rows), the scores with their floors beside them.
    notes: sentences shown above the cases, such as what the images are.

    An image that several cases show is embedded once. Runs of words that a retrieved report shares with the true one
    are marked, upper and lower case alike, unless they hold nothing but words like "the"; so are shared labels. Cases
    can be filtered by words and by finding, and ordered by how well they were answered; the address keeps the choice.

    Raises ValueError for a row that does not fit the columns, or an image that is no JPEG.
    """
    images = _Images()
    articles = "\n".join(_case(number, case, images) for number, case in enumerate(cases, start=1))
    findings = sorted({label for case in cases for label in case.labels})
    options = "".join(f"<option>{escape(label)}</option>" for label in findings)
    by_finding = f"""<label>Finding <select id="finding"><option value="">all</option>{options}</select></label>"""
    noted = "".join(f"<p>{escape(note)}</p>" for note in notes)
    script_hash = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    body = f"""<header>
<h1>{escape(title)}</h1>
{f'<div class="notes">{noted}</div>' if noted else ""}
{_table(Table(*summary))}
</header>
<main>
<div class="bar">
<label>Filter <input type="search" id="filter" placeholder="words in reports, labels, study ids"></label>
{by_finding if findings else ""}
<label>Order <select id="order"><option value="">as in the split</option><option value="best">best first</option>
<option value="worst">worst first</option><option value="similar">most similar first</option></select></label>
<output id="count" for="filter">{len(cases)} cases</output></div>
{articles}
</main>
<dialog id="zoom" aria-label="Enlarged image"><div></div></dialog>
<script>{_SCRIPT}</script>"""
    _write_document(path, title, body, images.rules(), f"; img-src data:; script-src 'sha256-{script_hash}'")


def write_tables(path: str | Path, title: str, tables: Mapping[str, Table]) -> None:
    """Writes a page of titled tables to `path` (its folder must exist), in the style of `write_page`."""
    body = "\n".join(f"<h2>{escape(name)}</h2>\n{_table(table)}" for name, table in tables.items())
    rules = "body > h2 { margin: 2rem 0 .5rem; } tbody tr:first-child > * { font-weight: inherit; }"
    _write_document(path, title, f"<h1>{escape(title)}</h1>\n{body}", rules)


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
<style>{_STYLE}{rules}</style>
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

    def figure(self, image: bytes, description: str) -> str:
        if not image.startswith(b"\xff\xd8"):
            raise ValueError(f"{description}: the image is no JPEG")
        name = self._classes.setdefault(image, f"i{len(self._classes)}")
        return f'<button type="button" class="xray {name}" aria-label="{escape(description)}, enlarge"></button>'

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


def _case(number: int, case: Case, images: _Images) -> str:
    true_words = _words(case.report)
    retrieved = "\n".join(
        f"""<section>
{images.figure(neighbour.image, f"Retrieved study {neighbour.study_id}")}
<div>
<h3>{neighbour.similarity:.3f} <span class="id">{escape(neighbour.study_id)}</span></h3>
<p>{_mark_shared(neighbour.report, true_words)}</p>
{_labels(neighbour.labels, case.labels)}</div>
</section>"""
        for neighbour in case.neighbours
    )
    similarity = max((neighbour.similarity for neighbour in case.neighbours), default=0.0)
    labels = escape(json.dumps(sorted(case.labels)))
    return f"""<article data-rouge="{case.rouge_l:.4f}" data-similarity="{similarity:.4f}" data-labels="{labels}">
<div class="query">
<h2>{number} <span class="id">{escape(case.study_id)}, ROUGE-L {case.rouge_l:.3f}</span></h2>
{images.figure(case.image, f"Query study {case.study_id}")}
<h3>True report</h3>
<p>{escape(case.report)}</p>
{_labels(case.labels)}
</div>
<div>
<h3>Retrieved <span class="id">training studies, by cosine similarity</span></h3>
<div class="retrieved">
{retrieved}
</div>
</div>
</article>"""


def _labels(labels: Collection[str], shared_with: Collection[str] = ()) -> str:
    shared = set(shared_with)
    items = "".join(f"<li{' class=shared' if label in shared else ''}>{escape(label)}</li>" for label in sorted(labels))
    return f'<ul class="labels">{items}</ul>' if items else ""


def _words(report: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(report)}


def _mark_shared(report: str, true_words: set[str]) -> str:
    """The escaped report, each run of words that are in true_words inside a <mark> if one of them is a content word."""
    runs: list[tuple[int, int, bool]] = []  # start, end, whether it is worth a mark
    open_run = False
    for word in _WORD.finditer(report):
        lowered = word.group().lower()
        shared, content = lowered in true_words, lowered not in _FUNCTION_WORDS
        if shared and open_run and report[runs[-1][1] : word.start()].isspace():
            runs[-1] = (runs[-1][0], word.end(), runs[-1][2] or content)
        elif shared:
            runs.append((word.start(), word.end(), content))
        open_run = shared
    parts: list[str] = []
    written = 0
    for start, end, marked in runs:
        if marked:
            parts += [escape(report[written:start]), "<mark>", escape(report[start:end]), "</mark>"]
            written = end
    return "".join(parts) + escape(report[written:])


_SCRIPT = """
const articles = [...document.querySelectorAll('article')];
const texts = articles.map(article => article.textContent.toLowerCase());
const labels = articles.map(article => JSON.parse(article.dataset.labels));
const keys = { best: a => -a.dataset.rouge, worst: a => +a.dataset.rouge, similar: a => -a.dataset.similarity };
const controls = ['filter', 'finding', 'order'].map(id => document.getElementById(id)).filter(control => control);
function show() {
  const chosen = Object.fromEntries(controls.map(control => [control.id, control.value]));
  const words = chosen.filter.toLowerCase().split(/\\s+/);
  articles.forEach((article, i) => {
    article.hidden = !words.every(word => texts[i].includes(word))
      || Boolean(chosen.finding) && !labels[i].includes(chosen.finding);
  });
  const key = keys[chosen.order], sorted = key ? [...articles].sort((a, b) => key(a) - key(b)) : articles;
  document.querySelector('main').append(...sorted);
  const all = articles.length, shown = articles.filter(article => !article.hidden).length;
  document.getElementById('count').textContent = (shown < all ? shown + ' of ' : '') + all + ' cases';
}
const asked = new URLSearchParams(location.hash.slice(1));
controls.forEach(control => {
  if (asked.has(control.id)) control.value = asked.get(control.id);
  control.addEventListener('input', () => {
    show();
    location.replace('#' + new URLSearchParams(controls.filter(c => c.value).map(c => [c.id, c.value])));
  });
});
show();
const zoom = document.getElementById('zoom');
document.addEventListener('click', event => {
  if (zoom.open) zoom.close();
  else if (event.target.matches('.xray')) { zoom.firstChild.className = event.target.className; zoom.showModal(); }
});
"""

_STYLE = """
:root { color-scheme: light dark; --text: #1d2125; --quiet: #5c6670; --line: #dfe3e6; --page: #fff; --soft: #f4f6f7;
  --mark: #0a7a6a; --tint: #0a7a6a14; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e6e8; --quiet: #98a2ab; --line: #30363b; --page: #14171a;
  --soft: #1c2024; --mark: #5fd0bd; --tint: #5fd0bd1f; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem clamp(1rem, 3vw, 2.5rem) 4rem; background: var(--page);
  color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { margin: 0 0 .75rem; font-size: clamp(1.4rem, 4vw, 1.9rem); line-height: 1.2; text-wrap: balance; }
h2, h3 { margin: 0; font-size: 1rem; font-weight: 600; line-height: 1.3; }
p { margin: .35rem 0; overflow-wrap: anywhere; }
.notes { max-width: 44rem; margin-bottom: 1.25rem; color: var(--quiet); }
.id { color: var(--quiet); font-weight: 400; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { padding: .4rem .65rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { position: sticky; left: 0; padding-left: 0; background: var(--page); text-align: left; }
thead th { color: var(--quiet); font-weight: 500; }
tbody th { font-weight: 400; }
tbody tr:first-child > * { font-weight: 650; }
.bar { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: 2rem 0 0; color: var(--quiet); }
.bar label { display: flex; flex: 1 1 18rem; gap: .6rem; align-items: center; max-width: 34rem; }
input { flex: 1; }
select { max-width: 16rem; }
input, select { min-width: 0; padding: .45rem .7rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--soft); color: inherit; font: inherit; }
article { display: grid; grid-template-columns: minmax(0, 17rem) minmax(0, 1fr); gap: 1.25rem 2rem; padding: 1.75rem 0;
  border-bottom: 1px solid var(--line); content-visibility: auto; contain-intrinsic-size: auto 32rem; }
.query h2 { margin-bottom: .6rem; }
.query h3 { margin-top: .8rem; }
.retrieved { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1.25rem 1.5rem;
  align-content: start; margin-top: .6rem; }
.retrieved h3 { margin-top: .6rem; font-variant-numeric: tabular-nums; }
.retrieved p { font-size: .94rem; }
.xray { display: block; width: 100%; aspect-ratio: 1; padding: 0; border: 0; border-radius: .3rem;
  background: #000 center / contain no-repeat; cursor: zoom-in; print-color-adjust: exact; }
.xray:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
mark { background: var(--tint); color: inherit; border-radius: .15rem;
  text-decoration: underline; text-decoration-color: var(--mark); text-decoration-thickness: 1px;
  text-underline-offset: .2em; }
.labels { display: flex; flex-wrap: wrap; gap: .3rem; margin: .5rem 0 0; padding: 0; list-style: none;
  font-size: .8rem; }
.labels li { padding: .05rem .5rem; border: 1px solid var(--line); border-radius: 1rem; color: var(--quiet);
  overflow-wrap: anywhere; }
.labels .shared { border-color: var(--mark); color: var(--mark); }
dialog { padding: 0; border: 0; background: none; max-width: none; max-height: none; }
dialog::backdrop { background: #000d; }
dialog .xray { width: min(96vw, 96vh); cursor: zoom-out; }
@media (max-width: 44rem) {
  th, td { padding: .4rem .6rem; }
  thead th:first-child, tbody th { max-width: 8rem; white-space: normal; }
  article { grid-template-columns: minmax(0, 1fr); }
  .query .xray { max-width: 24rem; }
  .retrieved { grid-template-columns: minmax(0, 1fr); }
  .retrieved section { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: 0 1rem; align-items: start; }
  .retrieved h3 { margin-top: 0; }
}
"""
