"""The page, read back with html.parser: well-formed, escaped, self-contained, each image once, each mention marked."""

import base64
import hashlib
import io
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from cxr_jax.pages.page import Case, Neighbour, Table, write_page, write_tables

VOID = {"meta", "input", "br"}


def jpeg(grey):
    file = io.BytesIO()
    Image.new("L", (8, 8), grey).save(file, "JPEG")
    return file.getvalue()


class Reader(HTMLParser):
    """Collects text by enclosing tag, the tags seen, and fails on tags that do not nest."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts = [], [], {}
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data)

    def text(self, tag):
        return "".join(self.texts.get(tag, []))

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


HOSTILE = "Lungs <script>alert('x')</script> & \"clear\" </p></article><img src=http://evil.example/x.png>"
BLACK, GREY, WHITE = jpeg(0), jpeg(128), jpeg(255)
CASES = [
    Case(
        "CXR1 <b>",
        BLACK,
        HOSTILE,
        ["<i>effusion</i>", "normal"],
        [
            Neighbour('CXR7" onclick="x', GREY, HOSTILE, frozenset(["opacity", "normal"]), 0.91234),
            Neighbour("CXR8", WHITE, "Heart big.", [], -0.25),
        ],
        0.75,
    ),
    Case("CXR2", GREY, "Heart normal.", [], [Neighbour("CXR7", GREY, "The heart is big.", [], 0.5)], 0.25),
]
SUMMARY = Table(["r2gen", "BLEU-1"], [["this run", ".412"], ["constant <report>", ".490"]])


@pytest.fixture
def html(tmp_path):
    write_page(tmp_path / "index.html", "Test & <title>", SUMMARY, CASES, ["Drawn radiographs, not patients <!--"])
    return (tmp_path / "index.html").read_text()


def case_of(tmp_path, truth, retrieved):
    """The page of one case, its labels after sentences taken out, and those of the true and the retrieved report."""
    case = Case("a", BLACK, truth, [], [Neighbour("b", GREY, retrieved, [], 0.5)], 0.5)
    write_page(tmp_path / "marks.html", "marks", SUMMARY, [case])
    html = (tmp_path / "marks.html").read_text()
    html = html[html.index("<article") :]
    chip = r' <span class="said ([^"]*)">([^<]*)</span>'
    split = html.index('<div class="retrieved">')
    said = [[(kind, unescape(text)) for kind, text in re.findall(chip, part)] for part in (html[:split], html[split:])]
    bare = re.sub(chip, "", html)
    reports = [unescape(re.sub("<[^>]*>", "", text)) for text in re.findall(r'<p class="report">(.*?)</p>', bare, re.S)]
    assert reports == [truth, retrieved]  # letter by letter
    marks = [(kind, unescape(text)) for kind, text in re.findall(r'<mark class="([^"]*)">(.*?)</mark>', bare)]
    return marks, *said


def test_shows_everything_as_text(html):
    reader = Reader(html)
    assert reader.text("title") == reader.text("h1") == "Test & <title>"
    assert reader.count("article") == 2
    assert reader.count("section") == 3
    assert reader.text("p").count(HOSTILE) == 2
    assert "Drawn radiographs, not patients <!--" in reader.text("p")
    for words in ("CXR1 <b>", 'CXR7" onclick="x', "0.912", "-0.250"):
        assert words in reader.text("article")
    assert {"<i>effusion</i>", "normal"} <= set(reader.texts["li"])
    assert reader.texts["td"] == [".412", ".490"]
    assert "constant <report>" in reader.texts["th"]


def test_reports_cannot_add_markup(html):
    reader = Reader(html)
    assert reader.count("script") == reader.count("style") == 1
    assert not {"img", "b", "i", "link", "iframe"} & {tag for tag, _ in reader.tags}
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)


def test_nothing_is_loaded(html):
    reader = Reader(html)
    assert not any(name in ("src", "href", "srcset") for _, attributes in reader.tags for name in attributes)
    style = reader.text("style")
    assert "@import" not in style
    assert all(url.startswith("data:image/") for url in re.findall(r"url\(([^)]*)", style))
    policy = next(a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(reader.text("script").encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_each_image_is_embedded_once_and_shown_where_it_belongs(html):
    reader = Reader(html)
    rules = dict(re.findall(r"\.(i\d+)\s*{\s*background-image:\s*url\(data:image/jpeg;base64,([^)]*)\)", html))
    assert sorted(base64.b64decode(data) for data in rules.values()) == sorted([BLACK, GREY, WHITE])
    shown = [a["class"].split()[1] for _, a in reader.tags if a.get("class", "").startswith("xray ")]
    assert [base64.b64decode(rules[name]) for name in shown] == [BLACK, GREY, WHITE, GREY, GREY]
    assert html.count("data:image/jpeg") == 3


@pytest.mark.parametrize(
    ("truth", "retrieved", "marked"),
    [
        ("Bones OLD.", "The bones are old.", ["bones", "old"]),
        ("The bones are old.", "The bones are new.", ["The bones are"]),
        # "the" alone says nothing; neighbours across a full stop are two runs.
        ("The bones are old. Spine straight.", "The spine. Old. Bones", ["The spine", "Old", "Bones"]),
        ("The bones are old.", "The spine is of good height.", []),
        ("T-spine 3.5 & <b>", "<b> T-spine", ["b", "T-spine"]),
        ("", "Old.", []),
        ("Old.", "", []),
    ],
)
def test_shared_words_are_marked_where_nothing_is_named(tmp_path, truth, retrieved, marked):
    assert case_of(tmp_path, truth, retrieved)[0] == [("shared", text) for text in marked]


def test_mentions_are_marked_by_what_the_true_report_says(tmp_path):
    truth = "There is a small left pleural effusion. Possible pneumonia. No pneumothorax."
    retrieved = "1. Right pleural effusion & edema. No pneumonia or pneumothorax. No pneumothorax."
    marks, true_said, said = case_of(tmp_path, truth, retrieved)
    assert marks == [
        ("contradicts", "pleural effusion"),
        ("alone", "edema"),
        ("contradicts", "pneumonia"),
        ("agrees", "pneumothorax"),
        ("agrees", "pneumothorax"),
    ]
    assert true_said == [
        ("positive", "Pleural Effusion, left"), ("uncertain", "? Pneumonia"), ("negative", "no Pneumothorax"),
    ]  # fmt: skip
    assert said == [
        ("positive contradicts", "Pleural Effusion, right"),
        ("positive alone", "Edema"),
        ("negative contradicts", "no Pneumonia"),
        ("negative agrees", "no Pneumothorax"),
        ("negative agrees", "no Pneumothorax"),
    ]


def test_what_a_retrieved_report_leaves_out_is_named(tmp_path):
    case_of(tmp_path, "Left pleural effusion. No pneumothorax. Cardiomegaly.", "No cardiomegaly.")
    assert re.findall(r'<p class="missed">([^<]*)</p>', (tmp_path / "marks.html").read_text()) == [
        "not mentioned: Pleural Effusion"
    ]


def test_one_mark_for_words_that_name_two_things(tmp_path):
    marks, _, said = case_of(tmp_path, "No pneumothorax.", "Left hydropneumothorax.")
    assert marks == [("contradicts", "hydropneumothorax")]
    assert {text for _, text in said} == {"Pleural Effusion, left", "Pneumothorax, left"}


def test_attention_lies_over_the_query_with_its_range(tmp_path):
    even, focused = np.array([[125, 130], [127, 126]], np.uint8), np.array([[0, 255]], np.uint8)
    cases = [Case("a", BLACK, "r", [], [], 0.0, attention=each) for each in (even, focused, even, None)]
    write_page(tmp_path / "index.html", "t", SUMMARY, cases)
    html = (tmp_path / "index.html").read_text()
    reader = Reader(html)
    classes = [a["class"].split()[1] for _, a in reader.tags if a.get("class", "").startswith("heat ")]
    assert len(classes) == 3
    assert classes[0] == classes[2] != classes[1]
    drawn = dict(re.findall(r"\.(i\d+){background-image:url\(data:image/png;base64,([^)]*)\)", html))
    alpha = [np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn[c]))))[:, :, 3] for c in classes[:2]]
    assert [each.shape for each in alpha] == [(2, 2), (1, 2)]
    assert alpha[0].argmax() == even.argmax()
    ranges = [re.sub("<[^>]*>", "", text) for text in re.findall(r'<p class="range">(.*?)</p>', html)]
    assert ranges == ["As 0.490  0.510, nearly even", "As 0.000  1.000", "As 0.490  0.510, nearly even"]
    assert any(a.get("id") == "attention" for _, a in reader.tags)


def test_controls_without_a_use_are_left_out(html, tmp_path):
    assert {a["id"] for _, a in Reader(html).tags if "id" in a} == {
        "filter", "finding", "order", "plain", "count", "zoom"
    }  # fmt: skip
    assert "rule F1" not in html
    write_page(tmp_path / "index.html", "t", SUMMARY, [Case("a", BLACK, "Old.", [], [], 0.0, rule_f1=0.5)])
    assert "worst rule F1 first" in (tmp_path / "index.html").read_text()


def test_without_labels_in_the_data_findings_are_read_from_the_true_reports(tmp_path):
    cases = [Case(name, BLACK, text, [], [], 0.0) for name, text in (("a", "Cardiomegaly."), ("b", "Clear lungs."))]
    write_page(tmp_path / "index.html", "t", SUMMARY, cases)
    reader = Reader((tmp_path / "index.html").read_text())
    assert [a["data-labels"] for tag, a in reader.tags if tag == "article"] == ['["Cardiomegaly"]', '["No Finding"]']
    assert {"Cardiomegaly", "No Finding"} < set(reader.texts["option"])


def test_pictures_stand_above_a_folded_table(tmp_path):
    write_page(tmp_path / "index.html", "t", SUMMARY, CASES, pictures=["<svg></svg>"])
    reader = Reader((tmp_path / "index.html").read_text())
    tags = [tag for tag, _ in reader.tags]
    assert tags.index("svg") < tags.index("details") < tags.index("table")


def test_tables_alone(tmp_path):
    write_tables(tmp_path / "index.html", "Audit", {"One & two": SUMMARY})
    reader = Reader((tmp_path / "index.html").read_text())
    assert reader.text("h2") == "One & two"
    assert reader.texts["td"] == [".412", ".490"]
    assert not reader.count("script")


def test_shared_labels_are_told_apart(html):
    reader = Reader(html)
    assert reader.texts["li"] == ["<i>effusion</i>", "normal", "normal", "opacity"]  # each study's in order
    classes = [attributes.get("class") for tag, attributes in reader.tags if tag == "li"]
    assert classes == [None, None, "shared", None]


def test_a_plain_pair_will_do_for_the_summary_and_no_cases_for_a_page(tmp_path):
    write_page(tmp_path / "index.html", "Empty", (["a"], [["b"]]), [])
    assert Reader((tmp_path / "index.html").read_text()).texts["th"] == ["a", "b"]


def test_badly_decoded_text_does_not_stop_the_page(tmp_path):
    case = Case("a", BLACK, "clear \udce9", [], [], 0.0)
    write_page(tmp_path / "index.html", "t", SUMMARY, [case])
    assert "clear ?" in (tmp_path / "index.html").read_text()


def test_wrong_images_and_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Query study a: the image is no JPEG"):
        write_page(tmp_path / "index.html", "t", SUMMARY, [Case("a", b"\x89PNG", "r", [], [], 0.0)])
    with pytest.raises(ValueError, match="has 1 cells for 2 columns"):
        write_page(tmp_path / "index.html", "t", (["a", "b"], [["only"]]), [])
    assert not (tmp_path / "index.html").exists()
