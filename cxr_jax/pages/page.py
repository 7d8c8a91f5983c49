"""One self-contained HTML page of an evaluation: the scores beside their floors, then the retrieved reports to read.

The file opens from a disk, needs no network and loads nothing. Every string on it is escaped, for reports are text of
unknown origin, and a content security policy forbids all but the page's own style and script (page.css and page.js).
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType

from cxr_jax.evaluation.tables import Table, are_words
from cxr_jax.pages.case_html import Images, article, findings_of
from cxr_jax.pages.cases import Case

_ORDERS = {
    "": "as in the split",
    "best": "best ROUGE-L first",
    "worst": "worst ROUGE-L first",
    "rule-best": "best rule F1 first",
    "rule-worst": "worst rule F1 first",
    "contradictions": "contradictions first",
    "similar": "most similar first",
}
_KEY = """<p class="key">Marked in retrieved reports, by rules: what <mark class="agrees">agrees</mark> with the true
report, what <mark class="contradicts">contradicts</mark> it (the opposite, or the other side) and what it does
<mark class="alone">not mention</mark>; elsewhere <mark class="shared">words</mark> that both have. Doubt (?) counts as
there. Contradictions are counted in the nearest report.</p>"""


def write_page(
    path: str | Path,
    title: str,
    summary: Table,
    cases: Sequence[Case],
    notes: Sequence[str] = (),
    pictures: Sequence[str] = (),
    tables: Mapping[str, Table] = MappingProxyType({}),
) -> None:
    """Writes the page to `path` (its folder must exist).

    summary: the scores with their floors beside them.
    notes: sentences shown above the cases, such as what the images are.
    pictures: HTML of `charts`, shown above the table.
    tables: more of them, by their titles, shown below it.

    An image that several cases show is embedded once. What the rule labeller reads stands after each sentence; in
    retrieved reports it is marked by whether the true one agrees, contradicts or is silent, and other sentences by the
    words that they share with it. Cases can be filtered by words and by finding (the data's own labels, else those of
    the rules) and ordered by how well they were answered; A_s can be laid over the query images. The address keeps the
    choice.

    Raises ValueError for a row that does not fit the columns, or an image that is no JPEG.
    """
    images, script, table = Images(), _file("page.js"), _table(summary)
    more = "".join(f"<h2>{escape(name)}</h2>\n{_table(of_name)}" for name, of_name in tables.items())
    from_data = any(case.labels for case in cases)
    findings = [findings_of(case, from_data) for case in cases]
    articles = "\n".join(article(i + 1, case, findings[i], images) for i, case in enumerate(cases))
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    body = f"""<header>
<h1>{escape(title)}</h1>
{"".join(f"<p class=note>{escape(note)}</p>" for note in notes)}
{f'<div class="pictures">{"".join(pictures)}</div>' if pictures else ""}
{f"<details><summary>The scores as a table</summary>{table}</details>" if pictures else table}
{more}
</header>
<main>
{_bar(cases, sorted(set().union(*findings)))}
{_KEY if any(case.rouge_l is not None for case in cases) else ""}
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


def _file(name: str) -> str:
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
<style>{_file("page.css")}{rules}</style>
</head>
<body>
{body}
</body>
</html>
"""
    # A report may hold a lone surrogate from a badly decoded file; a "?" in its place beats no page.
    Path(path).write_text(page, encoding="utf-8", errors="replace")


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"row {row!r} has {len(row)} cells for {len(table.columns)} columns")
    marks = [" class=words" if are_words([row[i] for row in table.rows]) else "" for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{mark}>{escape(column)}</th>' for column, mark in zip(table.columns, marks, strict=True)
    )
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{mark}>{escape(cell)}</td>" for cell, mark in zip(row[1:], marks[1:], strict=True))
        + "</tr>"
        for row in table.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _bar(cases: Sequence[Case], findings: Sequence[str]) -> str:
    """The controls; one without a use is left out."""
    by_rules = any(case.rule_f1 is not None for case in cases)
    by_report = not cases or any(case.rouge_l is not None for case in cases)
    orders = {value: text for value, text in _ORDERS.items() if by_rules or not value.startswith("rule-")}
    if not by_report:
        orders = {value: text for value, text in orders.items() if value in ("", "similar")}
    labels = [
        '<label class="wide">Filter <input type="search" id="filter" placeholder="words, labels, study ids"></label>'
    ]
    if findings:
        labels.append(f"<label>Finding {_select('finding', {'': 'all'} | {name: name for name in findings})}</label>")
    labels.append(f"<label>Order {_select('order', orders)}</label>")
    if any(case.attention is not None for case in cases):
        labels.append('<label><input type="checkbox" id="attention"><span>attention A<sub>s</sub></span></label>')
    labels.append('<label><input type="checkbox" id="plain">plain text</label>')
    shown = f'<output id="count" for="filter">{len(cases)} cases</output>'
    return "\n".join(['<div class="bar">', *labels, shown, "</div>"])


def _select(name: str, options: Mapping[str, str]) -> str:
    items = "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options.items())
    return f'<select id="{name}">{items}</select>'
