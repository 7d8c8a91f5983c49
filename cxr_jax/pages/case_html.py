"""A case as HTML: a query image and its true report beside the retrieved ones, with what the rules read in them.

Every string is escaped, for reports are text of unknown origin.
"""

import base64
import json
import re
from collections.abc import Collection, Sequence
from html import escape

import numpy as np

from cxr_jax.labels.agreement import AGREES, ALONE, CONTRADICTS, Judged, judge, passed_over
from cxr_jax.labels.rules import Mention, find_mentions, rule_labels, split_sentences
from cxr_jax.pages.cases import Case, RetrievedStudy
from cxr_jax.pages.charts import heat_png

EVEN = 0.05  # an A_s whose values lie closer together is called nearly even

_WORD = re.compile(r"\w+(?:[-']\w+)*")
# Any two reports share these, so alone they say nothing. "no" and "not" do.
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been by for from has have he her his in is it of on or she that the there this to was "
        "were which with",
    )
)


class Images:
    """Hands out one CSS class for each distinct image, so that its bytes stand in the page once."""

    def __init__(self):
        self._classes: dict[tuple[str, bytes], str] = {}

    def jpeg(self, image: bytes, description: str) -> str:
        """The class of a JPEG; raises ValueError, naming it, where it is none."""
        if not image.startswith(b"\xff\xd8"):
            raise ValueError(f"{description}: the image is no JPEG")
        return self._class("jpeg", image)

    def heat(self, attention: np.ndarray) -> str:
        """The class of an overlay."""
        return self._class("png", heat_png(attention))

    def rules(self) -> str:
        """The style rules of all classes."""
        return "\n".join(
            f".{name}{{background-image:url(data:image/{kind};base64,{base64.b64encode(image).decode()})}}"
            for (kind, image), name in self._classes.items()
        )

    def _class(self, kind: str, image: bytes) -> str:
        return self._classes.setdefault((kind, image), f"i{len(self._classes)}")


def findings_of(case: Case, from_data: bool) -> list[str]:
    """What the case is found by: its data's labels, or those that rules read in the true report."""
    return sorted(case.labels if from_data else rule_labels([case.report])[0])


def article(number: int, case: Case, findings: Sequence[str], images: Images) -> str:
    """A case as HTML; its images are left with `images`."""
    truth, compared = find_mentions(case.report), case.rouge_l is not None
    words = _words(case.report)
    retrieved, contradictions = [], 0
    for rank, neighbour in enumerate(case.neighbours):
        mentions = find_mentions(neighbour.report)
        judged = judge(mentions, truth) if compared else [Judged(mention, "") for mention in mentions]
        contradictions += sum(mention.verdict == CONTRADICTS for mention in judged) if rank == 0 else 0
        missed = passed_over(mentions, truth)  # without a true report nothing is
        silent = f'<p class="missed">not mentioned: {escape(", ".join(missed))}</p>' if missed else ""
        retrieved.append(
            f"""<section>
{_xray(neighbour.image, f"Retrieved study {neighbour.study_id}", images)}
<div>
<h3>{_similarity(neighbour)} <span class="id">{escape(neighbour.study_id)}</span></h3>
<p class="report">{_report(neighbour.report, judged, words)}</p>
{silent}{_labels(neighbour.labels, case.labels)}</div>
</section>"""
        )
    similarity = max((n.similarity for n in case.neighbours if n.similarity is not None), default=0.0)
    data = {
        "similarity": f"{similarity:.4f}",
        "contradictions": str(contradictions),
        "labels": json.dumps(list(findings)),
    }
    scores = []
    if case.rouge_l is not None:
        data["rouge"] = f"{case.rouge_l:.4f}"
        scores.append(f"ROUGE-L {case.rouge_l:.3f}")
    if case.rule_f1 is not None:
        data["rule"] = f"{case.rule_f1:.4f}"
        scores.append(f"rule F1 {case.rule_f1:.2f}")
    true = (
        f'<h3>True report</h3>\n<p class="report">{_report(case.report, truth)}</p>' if case.report or compared else ""
    )
    attributes = " ".join(f'data-{name}="{escape(value)}"' for name, value in data.items())
    newline = "\n"
    return f"""<article {attributes}>
<div class="query">
<h2>{number} <span class="id">{escape(case.study_id)}</span></h2>
<p class="id">{", ".join(scores)}</p>
{_xray(case.image, f"Query study {case.study_id}", images, case.attention, case.cell)}
{true}
{_labels(case.labels)}
</div>
<div>
<h3>Retrieved <span class="id">training studies, by cosine similarity</span></h3>
<div class="retrieved">
{newline.join(retrieved)}
</div>
</div>
</article>"""


def _similarity(study: RetrievedStudy) -> str:
    return "Draft" if study.similarity is None else f"{study.similarity:.3f}"


def _xray(
    image: bytes, description: str, images: Images, attention: np.ndarray | None = None, cell: float = 0.0
) -> str:
    if not image:  # of a pool of reports alone
        return ""
    over = caption = ""
    if attention is not None:
        height, width = (min(100.0, 100 * cell * count) if cell else 100.0 for count in attention.shape)
        size = f"height:{height:.4g}%;width:{width:.4g}%"
        over = f'<span class="heat {images.heat(attention)}" style="{size}"></span>'
        low, high = attention.min() / 255, attention.max() / 255
        even = ", nearly even" if high - low < EVEN else ""
        caption = (
            f'<p class="range"><span>A<sub>s</sub></span> {low:.3f} <span class="ramp"></span> {high:.3f}{even}</p>'
        )
    name = images.jpeg(image, description)
    label = f'aria-label="{escape(description)}, enlarge"'
    return f'<button type="button" class="xray {name}" {label}>{over}</button>{caption}'


def _labels(labels: Collection[str], shared_with: Collection[str] = ()) -> str:
    shared = set(shared_with)
    items = "".join(f"<li{' class=shared' if label in shared else ''}>{escape(label)}</li>" for label in sorted(labels))
    return f'<ul class="labels">{items}</ul>' if items else ""


def _report(report: str, said: Sequence[Judged] | Sequence[Mention], words: Collection[str] = ()) -> str:
    """The escaped report, after each sentence what it says of the observations.

    Args:
      said: the true report's mentions, or a retrieved one's as they were judged, which are then marked.
      words: where a sentence of a retrieved report names no observation, these are marked instead.
    """
    judged = [mention if isinstance(mention, Judged) else Judged(mention, "") for mention in said]
    parts, written = [], 0
    for start, end in split_sentences(report):
        inside = [entry for entry in judged if start <= entry.mention.start < end]
        parts += [escape(report[written:start]), _sentence(report, start, end, inside, words)]
        parts += dict.fromkeys(f" {_chip(*entry)}" for entry in inside)
        written = end
    return "".join([*parts, escape(report[written:])])


def _sentence(report: str, start: int, end: int, judged: Sequence[Judged], words: Collection[str]) -> str:
    """A sentence, the words of each judged mention in a <mark> of its verdict's class; overlapping ones share one."""
    if not judged:
        return _mark_shared(report[start:end], words)
    runs: list[tuple[int, int, list[str]]] = []
    for mention, verdict in sorted(judged, key=lambda entry: entry.mention.start):
        if runs and mention.start < runs[-1][1]:
            first, last, verdicts = runs[-1]
            runs[-1] = (first, max(last, mention.end), [*verdicts, verdict])
        else:
            runs.append((mention.start, mention.end, [verdict]))
    parts, written = [], start
    for first, last, verdicts in runs:
        text = escape(report[first:last])
        verdict = next((worst for worst in (CONTRADICTS, AGREES, ALONE) if worst in verdicts), "")
        parts += [escape(report[written:first]), f'<mark class="{verdict}">{text}</mark>' if verdict else text]
        written = last
    return "".join([*parts, escape(report[written:end])])


def _chip(mention: Mention, verdict: str) -> str:
    before = {"positive": "", "negative": "no ", "uncertain": "? "}[mention.status]
    text = before + mention.observation + (f", {mention.side}" if mention.side else "")
    return f'<span class="{" ".join(filter(None, ("said", mention.status, verdict)))}">{escape(text)}</span>'


def _words(report: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(report)}


def _mark_shared(text: str, true_words: Collection[str]) -> str:
    """The escaped text, each run of words that are in true_words inside a <mark> if one of them is a content word."""
    runs: list[tuple[int, int, bool]] = []  # start, end, whether it is worth a mark
    open_run = False
    for word in _WORD.finditer(text):
        lowered = word.group().lower()
        shared, content = lowered in true_words, lowered not in _FUNCTION_WORDS
        if shared and open_run and text[runs[-1][1] : word.start()].isspace():
            runs[-1] = (runs[-1][0], word.end(), runs[-1][2] or content)
        elif shared:
            runs.append((word.start(), word.end(), content))
        open_run = shared
    parts: list[str] = []
    written = 0
    for start, end, marked in runs:
        if marked:
            parts += [escape(text[written:start]), '<mark class="shared">', escape(text[start:end]), "</mark>"]
            written = end
    return "".join(parts) + escape(text[written:])
