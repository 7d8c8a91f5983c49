"""A case on its page: each mention marked, labels and attention where they belong."""

import base64
import io
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

from cxr_jax.pages.cases import Case, RetrievedStudy
from cxr_jax.pages.page import write_page
from tests.pages.reader import BLACK, GREY, SUMMARY, Reader


def case_of(tmp_path, truth, retrieved):
    """The page of one case, its labels after sentences taken out, and those of the true and the retrieved report."""
    case = Case("a", BLACK, truth, [], [RetrievedStudy("b", GREY, retrieved, [], 0.5)], 0.5)
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
    cases = [Case("a", BLACK, "r", [], [], 0.0, attention=attention) for attention in (even, focused, even, None)]
    write_page(tmp_path / "index.html", "t", SUMMARY, cases)
    html = (tmp_path / "index.html").read_text()
    reader = Reader(html)
    classes = [a["class"].split()[1] for _, a in reader.tags if a.get("class", "").startswith("heat ")]
    assert len(classes) == 3
    assert classes[0] == classes[2] != classes[1]
    drawn = dict(re.findall(r"\.(i\d+){background-image:url\(data:image/png;base64,([^)]*)\)", html))
    alpha = [np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn[c]))))[:, :, 3] for c in classes[:2]]
    assert [overlay.shape for overlay in alpha] == [(2, 2), (1, 2)]
    assert alpha[0].argmax() == even.argmax()
    ranges = [re.sub("<[^>]*>", "", text) for text in re.findall(r'<p class="range">(.*?)</p>', html)]
    assert ranges == ["As 0.490  0.510, nearly even", "As 0.000  1.000", "As 0.490  0.510, nearly even"]
    assert any(a.get("id") == "attention" for _, a in reader.tags)


def test_without_labels_in_the_data_findings_are_read_from_the_true_reports(tmp_path):
    cases = [Case(name, BLACK, text, [], [], 0.0) for name, text in (("a", "Cardiomegaly."), ("b", "Clear lungs."))]
    write_page(tmp_path / "index.html", "t", SUMMARY, cases)
    reader = Reader((tmp_path / "index.html").read_text())
    assert [a["data-labels"] for tag, a in reader.tags if tag == "article"] == ['["Cardiomegaly"]', '["No Finding"]']
    assert {"Cardiomegaly", "No Finding"} < set(reader.texts["option"])


def test_shared_labels_are_told_apart(tmp_path):
    neighbours = [RetrievedStudy("b", GREY, "Old.", ["opacity", "normal"], 0.5)]
    write_page(
        tmp_path / "index.html", "t", SUMMARY, [Case("a", BLACK, "r", ["<i>effusion</i>", "normal"], neighbours, 0.5)]
    )
    reader = Reader((tmp_path / "index.html").read_text())
    assert reader.texts["li"] == ["<i>effusion</i>", "normal", "normal", "opacity"]  # each study's in order
    classes = [attributes.get("class") for tag, attributes in reader.tags if tag == "li"]
    assert classes == [None, None, "shared", None]
