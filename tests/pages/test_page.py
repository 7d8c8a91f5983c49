"""The page, read back with html.parser: well-formed, escaped, self-contained, each image once."""

import base64
import hashlib
import re

import pytest

from cxr_jax.evaluation.tables import Table
from cxr_jax.pages.cases import Case, RetrievedStudy
from cxr_jax.pages.page import write_page, write_tables
from tests.pages.reader import BLACK, GREY, SUMMARY, WHITE, Reader

HOSTILE = "Lungs <script>alert('x')</script> & \"clear\" </p></article><img src=http://evil.example/x.png>"
CASES = [
    Case(
        "CXR1 <b>",
        BLACK,
        HOSTILE,
        ["<i>effusion</i>", "normal"],
        [
            RetrievedStudy('CXR7" onclick="x', GREY, HOSTILE, frozenset(["opacity", "normal"]), 0.91234),
            RetrievedStudy("CXR8", WHITE, "Heart big.", [], -0.25),
        ],
        0.75,
    ),
    Case("CXR2", GREY, "Heart normal.", [], [RetrievedStudy("CXR7", GREY, "The heart is big.", [], 0.5)], 0.25),
]


@pytest.fixture
def html(tmp_path):
    write_page(tmp_path / "index.html", "Test & <title>", SUMMARY, CASES, ["Drawn radiographs, not patients <!--"])
    return (tmp_path / "index.html").read_text()


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


def test_controls_without_a_use_are_left_out(html, tmp_path):
    assert {a["id"] for _, a in Reader(html).tags if "id" in a} == {
        "filter", "finding", "order", "plain", "count", "zoom"
    }  # fmt: skip
    assert "rule F1" not in html
    write_page(tmp_path / "index.html", "t", SUMMARY, [Case("a", BLACK, "Old.", [], [], 0.0, rule_f1=0.5)])
    assert "worst rule F1 first" in (tmp_path / "index.html").read_text()


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


def test_a_page_without_cases(tmp_path):
    write_page(tmp_path / "index.html", "Empty", Table(["a"], [["b"]]), [])
    assert Reader((tmp_path / "index.html").read_text()).texts["th"] == ["a", "b"]


def test_badly_decoded_text_does_not_stop_the_page(tmp_path):
    case = Case("a", BLACK, "clear \udce9", [], [], 0.0)
    write_page(tmp_path / "index.html", "t", SUMMARY, [case])
    assert "clear ?" in (tmp_path / "index.html").read_text()


def test_wrong_images_and_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Query study a: the image is no JPEG"):
        write_page(tmp_path / "index.html", "t", SUMMARY, [Case("a", b"\x89PNG", "r", [], [], 0.0)])
    with pytest.raises(ValueError, match="has 1 cells for 2 columns"):
        write_page(tmp_path / "index.html", "t", Table(["a", "b"], [["only"]]), [])
    assert not (tmp_path / "index.html").exists()


def test_more_tables_stand_below_the_first(tmp_path):
    write_page(
        tmp_path / "index.html", "t", SUMMARY, [], tables={"Labels & more": Table(["", "AUROC"], [["Edema", ".7"]])}
    )
    reader = Reader((tmp_path / "index.html").read_text())
    assert reader.text("h2") == "Labels & more"
    assert reader.texts["td"] == [".412", ".490", ".7"]


def test_without_true_reports_nothing_is_compared(tmp_path):
    """Of a pool of reports alone, too, which has no images."""
    case = Case("a", BLACK, "", ["Edema"], [RetrievedStudy("b", b"", "Edema. Left effusion.", [], 0.5)])
    write_page(tmp_path / "index.html", "t", SUMMARY, [case])
    html = (tmp_path / "index.html").read_text()
    body = html[html.index("<article") :]
    assert "ROUGE-L" not in html[html.index("<main") :]
    assert "True report" not in body
    assert "<mark" not in html[html.index("<main") :]
    assert body.count('class="xray') == 1
    assert 'class="said positive"' in body  # what the rules read in the retrieved one stays
    assert re.findall('<option value="([^"]*)">', html[html.index('id="order"') :]) == ["", "similar"]
