"""The page in a headless Chromium: what it shows, what its controls do, and that its script runs without a fault.

Another page holds it in a frame, uses its controls as a reader would and writes down what it sees: one start for all.
"""

import base64
import hashlib
import html as markup
import io
import json
import re
import shutil
import subprocess
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from cxr_jax.evaluation.tables import Table
from cxr_jax.pages import charts
from cxr_jax.pages.cases import Case, RetrievedStudy
from cxr_jax.pages.page import write_page

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH; apt-get install chromium")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--allow-file-access-from-files", "--window-size=1000,800", "--virtual-time-budget=3000",
]  # fmt: skip


def jpeg(width, height):
    file = io.BytesIO()
    Image.new("L", (width, height), 90).save(file, "JPEG")
    return file.getvalue()


def case(name, report, labels, rouge, rule, similarity, retrieved="No pleural effusion."):
    attention = np.array([[0, 50], [100, 200]], np.uint8)
    neighbour = RetrievedStudy(f"near-{name}", jpeg(8, 8), retrieved, labels, similarity)
    return Case(name, jpeg(40, 20), report, labels, [neighbour], rouge, rule, attention)


CASES = [
    case("s1", "Left pleural effusion.", ["Effusion/left"], 0.2, 0.0, 0.3),
    case("s2", "Clear lungs.", ["Normal"], 0.9, None, 0.1),
    case("s3", "No pleural effusion. <script>x</script>", ["Normal"], 0.5, 1.0, 0.9),
    case("s4", "The heart is enlarged.", ["Cardiomegaly", "R&D"], 0.4, 0.5, 0.2),
]
SCORES = {"bleu_1": 0.4, "rouge_l": 0.3}
METRICS = {
    "floors": {"random_report": SCORES, "constant_report": SCORES},
    "ceiling": SCORES,
    "scores": SCORES,
    "intervals": {name: [score - 0.05, score + 0.05] for name, score in SCORES.items()},
}
LINES = [{"step": step, "loss": 3 - step / 10, "val_loss": 2.5, "val_recall@1": 0.2} for step in range(4)]

READER = """<!DOCTYPE html><meta charset="utf-8">
<iframe src="index.html" width="900" height="700"></iframe><pre></pre>
<script>
const frame = document.querySelector('iframe'), seen = {};
frame.addEventListener('load', () => {
  const page = frame.contentDocument, view = frame.contentWindow, find = s => page.querySelector(s);
  const articles = () => [...page.querySelectorAll('article')].filter(a => a.getClientRects().length)
    .map(a => a.querySelector('h2').textContent.split(' ')[1]);
  const look = name => seen[name] = {
    articles: articles(), count: find('#count').textContent, address: view.location.hash,
    heat: find('.heat').getClientRects().length, range: find('.range').getClientRects().length,
    chips: find('.said').getClientRects().length,
  };
  const put = (id, value) => {
    const control = page.getElementById(id);
    if (control.type === 'checkbox') control.click();
    else { control.value = value; control.dispatchEvent(new view.Event('input', { bubbles: true })); }
    look(id + ' ' + value);
  };
  look('at first');
  for (const [id, values] of Object.entries(CONTROLS)) for (const value of values) put(id, value);
  const over = find('.heat').getBoundingClientRect(), image = find('.xray').getBoundingClientRect();
  seen.overlay = ['left', 'top', 'width', 'height'].map(side => [over[side], image[side]]);
  find('.xray').click();
  const zoom = page.getElementById('zoom');
  seen.zoom = [zoom.open, zoom.firstChild.className, zoom.querySelectorAll('.heat').length];
  zoom.click();
  seen.zoom.push(zoom.open);
  seen.chart = [...page.querySelectorAll('[role=img]')].map(svg => svg.getBoundingClientRect().width > 200);
  seen.wide = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  frame.width = 390;
  seen.narrow = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  document.querySelector('pre').textContent = JSON.stringify(seen);
});
</script>"""
ORDERS = ["best", "worst", "rule-best", "rule-worst", "contradictions", "similar", ""]
CONTROLS = {
    "order": ORDERS,
    "filter": ["effusion LEFT", "script", "near-s4", "nothing at all", ""],
    "finding": ["Normal", "R&D", ""],
    "attention": [""],
    "plain": ["", " again"],
}


def browse(address, profile):
    """The document after its script has run, and what the browser's console said."""
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "</html>" in done.stdout
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    pictures = [charts.score_chart(METRICS), charts.curve_figures(LINES, 3)]
    write_page(folder / "index.html", "Page", Table(["", "a"], [["b", "c"]]), CASES, ["A note"], pictures)
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    (folder / "reader.html").write_text(READER.replace("CONTROLS", json.dumps(CONTROLS)))
    document, console = browse(f"file://{folder}/reader.html", folder / "profile")
    assert not console
    return json.loads(markup.unescape(re.search("<pre>(.*?)</pre>", document)[1]))


def test_all_cases_are_there_at_first(seen):
    assert seen["at first"] == {
        "articles": ["s1", "s2", "s3", "s4"], "count": "4 cases", "address": "", "heat": 0, "range": 0, "chips": 1
    }  # fmt: skip


def test_cases_are_ordered(seen):
    orders = {order: seen[f"order {order}"]["articles"] for order in ORDERS}
    assert orders == {
        "best": ["s2", "s3", "s4", "s1"],
        "worst": ["s1", "s4", "s3", "s2"],
        "rule-best": ["s3", "s4", "s1", "s2"],  # s2 has no rule labels
        "rule-worst": ["s1", "s4", "s3", "s2"],
        "contradictions": ["s1", "s4", "s3", "s2"],
        "similar": ["s3", "s1", "s4", "s2"],
        "": ["s1", "s2", "s3", "s4"],
    }
    assert seen["order rule-best"]["address"] == "#order=rule-best"
    assert seen["order "]["address"] == ""


def test_cases_are_filtered(seen):
    shown = {name: (look["articles"], look["count"]) for name, look in seen.items() if name.startswith("fi")}
    assert shown == {
        "filter effusion LEFT": (["s1"], "1 of 4 cases"),
        "filter script": (["s3"], "1 of 4 cases"),
        "filter near-s4": (["s4"], "1 of 4 cases"),
        "filter nothing at all": ([], "0 of 4 cases"),
        "filter ": (["s1", "s2", "s3", "s4"], "4 cases"),
        "finding Normal": (["s2", "s3"], "2 of 4 cases"),
        "finding R&D": (["s4"], "1 of 4 cases"),
        "finding ": (["s1", "s2", "s3", "s4"], "4 cases"),
    }


def test_attention_is_laid_over_the_whole_image(seen):
    assert (seen["attention "]["heat"], seen["attention "]["range"]) == (1, 1)
    assert seen["attention "]["address"] == "#attention=1"
    for over, image in seen["overlay"]:
        assert over == pytest.approx(image, abs=0.01)


def test_labels_by_sentence_can_be_put_away(seen):
    assert [seen[name]["chips"] for name in ("plain ", "plain  again")] == [0, 1]


def test_an_image_is_enlarged_with_what_lies_over_it(seen):
    was_open, name, over, still_open = seen["zoom"]
    assert (was_open, over, still_open) == (True, 1, False)
    assert name.startswith("xray i")


def test_it_fits_a_desk_and_a_phone(seen):
    assert seen["wide"] == seen["narrow"] == 0
    assert seen["chart"] == [True] * 3  # scores, loss, recall


def test_the_address_keeps_the_choice(folder):
    choice = urlencode({"finding": "Normal", "order": "best", "attention": "1", "nonsense": "x"})
    document, console = browse(f"file://{folder}/index.html#{choice}", folder / "profile")
    assert not console
    shown = re.findall(r"<article([^>]*)>.*?<h2>\d+ <span class=\"id\">(\w+)", document, re.S)
    assert [name for _, name in shown] == ["s2", "s3", "s4", "s1"]
    assert [name for attributes, name in shown if "hidden" not in attributes] == ["s2", "s3"]
    assert re.search(r'<body class="attention">', document)
    assert "2 of 4 cases</output>" in document


def test_a_fault_in_the_script_would_be_seen(folder):
    page = (folder / "index.html").read_text()
    script = re.search("<script>(.*?)</script>", page, re.S)[1]
    faults = {script + "\nnobody.here();": "nobody is not defined", "fetch('http://a.invalid/');": "Security Policy"}
    for broken, says in faults.items():
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, broken)]
        (folder / "broken.html").write_text(page.replace(script, broken).replace(*hashes))
        _, console = browse(f"file://{folder}/broken.html", folder / "profile")
        assert any(says in line for line in console)
