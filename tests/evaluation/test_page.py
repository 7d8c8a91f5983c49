"""The page, read back with html.parser: well-formed, escaped, self-contained, each image once."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from cxr_jax.evaluation.page import Case, Neighbour, Table, write_page

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


def shared_words(tmp_path, truth, retrieved):
    case = Case("a", BLACK, truth, [], [Neighbour("b", GREY, retrieved, [], 0.5)], 0.5)
    write_page(tmp_path / "marks.html", "marks", SUMMARY, [case])
    reader = Reader((tmp_path / "marks.html").read_text())
    assert retrieved in reader.text("p")
    return reader.texts.get("mark", [])


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
    assert all(url.startswith("data:image/jpeg;base64,") for url in re.findall(r"url\(([^)]*)", style))
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
        ("Heart NORMAL.", "The heart is normal.", ["heart", "normal"]),
        ("The heart is normal.", "The heart is big.", ["The heart is"]),
        ("No effusion.", "No pneumothorax. Effusion", ["No", "Effusion"]),
        # "the" alone says nothing; neighbours across a full stop are two runs.
        ("The lungs are clear. Spine normal.", "The spine. Clear. Lungs", ["The spine", "Clear", "Lungs"]),
        ("The lungs are clear.", "The spine is of normal height.", []),
        ("T-spine 3.5 & <b>", "<b> T-spine", ["b", "T-spine"]),
        ("", "Clear.", []),
        ("Clear.", "", []),
    ],
)
def test_shared_words_are_marked(tmp_path, truth, retrieved, marked):
    assert shared_words(tmp_path, truth, retrieved) == marked


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
