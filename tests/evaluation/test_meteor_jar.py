"""METEOR 1.5's own jar, where it is installed (the extra `coco`, Java): its statistics against its scores."""

import json

import numpy as np
import pytest

from cxr_jax.errors import InputError
from cxr_jax.evaluation import meteor_jar
from cxr_jax.evaluation.meteor import meteor_from_sums, meteor_statistics

needs_jar = pytest.mark.skipif(meteor_jar.find_jar() is None, reason="METEOR's jar (extra coco) or Java is not here")


# pycocoevalcap leaves its pipes open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_jar
def test_the_jars_statistics_give_the_jars_own_scores(systems):
    references, predictions = systems
    jar = pytest.importorskip("pycocoevalcap.meteor.meteor").Meteor()
    gold = {i: [report] for i, report in enumerate(references)}
    for name, system in predictions.items():
        corpus, segments = jar.compute_score(gold, {i: [report] for i, report in enumerate(system)})
        statistics = meteor_jar.jar_statistics(references, system)
        assert meteor_from_sums(statistics.sum(axis=0)) == pytest.approx(corpus, abs=1e-9), name
        np.testing.assert_allclose(meteor_from_sums(statistics), segments, atol=1e-9)
        ours = meteor_from_sums(meteor_statistics(references, system).sum(axis=0))
        assert ours == pytest.approx(corpus, abs=0.012), name


ODD = [
    "",
    ".",
    "the U.S. vs. Dr. Smith's 10,000 feet",
    "x-ray a-b-c well-to-do <unk> .",
    "\u201ckein\u201d Erguss \u2014 \u00f6dem",
    "the women were happily buying handfuls",
    "a woman is happy to buy a handful",
    "\U0001f600 \u03b1\u03b2 foo\u2013bar... ok ..",
]


@pytest.mark.slow
@needs_jar
@pytest.mark.parametrize("prepared", [True, False])
def test_cut_tables_and_plain_texts_change_nothing(systems, shared, monkeypatch, prepared):
    references, predictions = systems
    if not prepared:
        entries = json.loads((shared / "data/iu_xray/r2gen_annotation.json").read_text())["test"]
        references = [entry["report"] for entry in entries]
    pairs = [*references, *(odd for odd in ODD for _ in ODD)], [*(predictions["random"]), *ODD * len(ODD)]
    kept = [pair for pair in zip(*pairs, strict=True) if not prepared or None not in map(meteor_jar.split_plain, pair)]
    assert len(kept) > 500
    pairs = [list(side) for side in zip(*kept, strict=True)]
    meteor_jar._running.cache_clear()
    fast = meteor_jar.jar_statistics(*pairs)
    monkeypatch.setattr(meteor_jar, "_MANY_WORDS", -1)
    monkeypatch.setattr(meteor_jar, "split_plain", lambda text: None)
    meteor_jar._running.cache_clear()
    np.testing.assert_array_equal(meteor_jar.jar_statistics(*pairs), fast)
    meteor_jar._running.cache_clear()


@needs_jar
def test_texts_with_new_words_are_scored_as_if_they_came_first():
    both = ["no pleural effusion", "a small pneumothorax", "no effusions"], ["no fluid", "tiny pneumothoraces", "fluid"]
    meteor_jar._running.cache_clear()
    one_by_one = np.concatenate([meteor_jar.jar_statistics([r], [p]) for r, p in zip(*both, strict=True)])
    meteor_jar._running.cache_clear()
    meteor_jar.expect(["not to be seen"])
    np.testing.assert_array_equal(meteor_jar.jar_statistics(*both), one_by_one)


@needs_jar
def test_odd_texts_do_not_put_the_jar_out_of_step():
    odd = ["a ||| b", "", "two\nlines\tand tabs", "no effusion", "\u00f6dem \u2014"]
    scores = meteor_from_sums(meteor_jar.jar_statistics([*odd, "no effusion"], [*odd[::-1], "no effusion"]))
    assert scores[-1] == 1
    assert np.isfinite(scores).all()


@needs_jar
@pytest.mark.parametrize(
    "options", ["-Duser.language=de -Duser.language.format=de", "-Duser.language=tr", "-Dfile.encoding=US-ASCII"]
)
def test_the_machines_locale_does_not_matter(monkeypatch, options):
    references = ["THE INFILTRATE IS ILL-DEFINED, 2.5 cm.", "\u00f6dem \u00fcberall", "Heart size is normal"]
    predictions = ["the infiltrate is ill-defined, 2.5 cm.", "\u00f6dem uberall", "the heart is of normal size"]
    meteor_jar._running.cache_clear()
    here = meteor_jar.jar_statistics(references, predictions)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", options)
    monkeypatch.setenv("LC_ALL", "C")
    meteor_jar._running.cache_clear()
    np.testing.assert_array_equal(meteor_jar.jar_statistics(references, predictions), here)
    meteor_jar._running.cache_clear()
    assert meteor_from_sums(here)[0] == 1


def test_without_the_jar_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(meteor_jar, "find_jar", lambda: None)
    meteor_jar._running.cache_clear()
    with pytest.raises(InputError, match=r"needs Java and pycocoevalcap; install both"):
        meteor_jar.jar_statistics(["a"], ["a"])


def test_a_jar_that_stops_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(meteor_jar, "find_jar", lambda: tmp_path / "no.jar")
    (tmp_path / "java").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    meteor_jar._running.cache_clear()
    with pytest.raises(InputError, match="METEOR's jar has stopped") as error:
        meteor_jar.jar_statistics(["a"], ["a"])
    assert "\n" not in str(error.value)
    meteor_jar._running.cache_clear()
