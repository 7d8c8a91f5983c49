"""METEOR: small cases by hand, properties, and METEOR 1.5's own jar where it is installed (the extra `coco`, Java)."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.errors import InputError
from cxr_jax.evaluation import meteor_jar
from cxr_jax.evaluation.ceiling import nearest_by_text
from cxr_jax.evaluation.floors import best_constant
from cxr_jax.evaluation.meteor import align, meteor_from_sums, meteor_statistics
from cxr_jax.evaluation.text_metrics import report_preparers

WORDS = st.lists(st.sampled_from(["effusion", "effusions", "no", "the", "heart", "."]), max_size=7)


def score(references, predictions):
    return meteor_from_sums(meteor_statistics(references, predictions).sum(axis=0))


def penalty(chunks, matches):
    return 1 - 0.6 * (chunks / matches) ** 0.2


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        ("heart size normal", "heart size normal", 1.0),
        ("heart size normal", "heart", (1 / 3) / (0.85 + 0.15 / 3) * penalty(1, 1)),
        ("normal heart", "heart normal", penalty(2, 2)),
        ("effusion", "effusions", 0.6 * penalty(0, 1)),
        ("heart", "the heart", 0.75 / (0.85 * 0.75 + 0.15) * penalty(1, 1)),  # P = .75 / 1, R = 1
        ("heart", "lungs", 0.0),
        ("heart", "", 0.0),
        ("", "heart", 0.0),
    ],
)
def test_by_hand(reference, prediction, expected):
    assert score([reference], [prediction]) == pytest.approx(expected)


@given(WORDS, WORDS)
def test_an_alignment_matches_all_that_can_be_and_nothing_twice(reference, prediction):
    chunks = align(reference, prediction)
    pairs = [(i + k, j + k) for i, j, length in chunks for k in range(length)]
    assert all(prediction[i] == reference[j] for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert len(pairs) == sum(min(reference.count(word), prediction.count(word)) for word in set(prediction))


def fewest_chunks(reference, prediction):
    """By trying every complete matching."""
    places = {}
    for word in set(prediction) & set(reference):
        on_p = [i for i, each in enumerate(prediction) if each == word]
        on_r = [j for j, each in enumerate(reference) if each == word]
        n = min(len(on_p), len(on_r))
        places[word] = [
            list(zip(p, r, strict=True))
            for p in itertools.combinations(on_p, n)
            for r in itertools.permutations(on_r, n)
        ]
    best = None
    for choice in itertools.product(*places.values()):
        pairs = {pair for part in choice for pair in part}
        chunks = sum((i - 1, j - 1) not in pairs for i, j in pairs)
        best = chunks if best is None else min(best, chunks)
    return best or 0


def test_the_greedy_alignment_is_seldom_more_than_the_best():
    rng = np.random.default_rng(0)
    more = []
    for _ in range(150):
        reference, prediction = (list(rng.choice(list("abcdefg."), size=6)) for _ in range(2))
        more.append(len(align(reference, prediction)) - fewest_chunks(reference, prediction))
    assert min(more) >= 0
    assert np.mean(more) < 0.05


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_statistics_add_up_and_score_between_nought_and_one(pairs):
    references, predictions = ([" ".join(words) for words in side] for side in zip(*pairs, strict=True))
    whole = meteor_statistics(references, predictions)
    parts = [meteor_statistics([r], [p])[0] for r, p in zip(references, predictions, strict=True)]
    np.testing.assert_allclose(whole, parts)
    assert 0 <= meteor_from_sums(whole.sum(axis=0)) <= 1
    assert meteor_from_sums(whole).shape == (len(pairs),)


@pytest.fixture(scope="module")
def systems(shared):
    """References and several systems' predictions on R2Gen's test split, prepared by its protocol."""
    annotation = json.loads((shared / "data/iu_xray/r2gen_annotation.json").read_text())
    train, val, test = ([entry["report"] for entry in annotation[name]] for name in ("train", "val", "test"))
    prepare_reference, prepare_prediction = report_preparers("r2gen", train)
    pool, references = list(map(prepare_prediction, train)), list(map(prepare_reference, test))
    drawn = np.random.default_rng(0).integers(len(pool), size=len(references))
    constant = best_constant(pool, list(map(prepare_reference, val)))
    return references, {
        "constant": [constant] * len(references),
        "random": [pool[i] for i in drawn],
        "nearest": [pool[i] for i in nearest_by_text(test, train)],
    }


def test_real_reports_score_as_measured(systems):
    # The jar, with synonyms and paraphrases, gives .2240, .1578 and .4030 here: the test below holds that.
    references, predictions = systems
    found = [score(references, predictions[name]) for name in ("constant", "random", "nearest")]
    np.testing.assert_allclose(found, [0.2240, 0.1578, 0.4030], atol=0.012)


needs_jar = pytest.mark.skipif(meteor_jar.find_jar() is None, reason="METEOR's jar (extra coco) or Java is not here")


# pycocoevalcap leaves its pipes open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_jar
def test_the_jars_statistics_give_the_jars_own_scores(systems):
    references, predictions = systems
    jar = pytest.importorskip("pycocoevalcap.meteor.meteor").Meteor()
    gold = {i: [report] for i, report in enumerate(references)}
    for name, found in predictions.items():
        corpus, segments = jar.compute_score(gold, {i: [report] for i, report in enumerate(found)})
        statistics = meteor_jar.jar_statistics(references, found)
        assert meteor_from_sums(statistics.sum(axis=0)) == pytest.approx(corpus, abs=1e-9), name
        np.testing.assert_allclose(meteor_from_sums(statistics), segments, atol=1e-9)
        assert score(references, found) == pytest.approx(corpus, abs=0.012), name


@needs_jar
def test_odd_texts_do_not_put_the_jar_out_of_step():
    odd = ["a ||| b", "", "two\nlines\tand tabs", "no effusion", "\u00f6dem \u2014"]
    scores = meteor_from_sums(meteor_jar.jar_statistics([*odd, "no effusion"], [*odd[::-1], "no effusion"]))
    assert scores[-1] == 1
    assert np.isfinite(scores).all()


def test_without_the_jar_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(meteor_jar, "find_jar", lambda: None)
    meteor_jar._process.cache_clear()
    with pytest.raises(InputError, match=r"needs Java and pycocoevalcap; install both"):
        meteor_jar.jar_statistics(["a"], ["a"])


def test_a_jar_that_stops_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(meteor_jar, "find_jar", lambda: tmp_path / "no.jar")
    (tmp_path / "java").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    meteor_jar._process.cache_clear()
    with pytest.raises(InputError, match="METEOR's jar has stopped") as error:
        meteor_jar.jar_statistics(["a"], ["a"])
    assert "\n" not in str(error.value)
    meteor_jar._process.cache_clear()
