"""METEOR without Java: small cases by hand, properties, and which of the two METEORs is taken."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.errors import InputError
from cxr_jax.evaluation import meteor_jar
from cxr_jax.evaluation.meteor import align, choose_meteor, meteor_from_sums, meteor_statistics
from cxr_jax.evaluation.text_metrics import score_names, score_reports

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
        on_p = [i for i, other in enumerate(prediction) if other == word]
        on_r = [j for j, other in enumerate(reference) if other == word]
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


def test_real_reports_score_as_measured(systems):
    # The jar, with synonyms and paraphrases, gives .2240, .1578 and .4030 here: test_meteor_jar.py holds that.
    references, predictions = systems
    scores = [score(references, predictions[name]) for name in ("constant", "random", "nearest")]
    np.testing.assert_allclose(scores, [0.2240, 0.1578, 0.4030], atol=0.012)


@pytest.mark.parametrize(("jar", "name"), [("meteor-1.5.jar", "meteor"), (None, "meteor_exact_stem")])
def test_which_one_auto_is_is_decided_when_it_is_computed(monkeypatch, tmp_path, jar, name):
    monkeypatch.setattr(meteor_jar, "find_jar", lambda: jar and tmp_path / jar)
    monkeypatch.setattr(meteor_jar, "jar_statistics", meteor_statistics)
    assert choose_meteor().name == name
    assert name in score_names()
    assert score_reports(["effusion"], ["effusions"], "raw")[name] == pytest.approx(score(["effusion"], ["effusions"]))
    assert choose_meteor("exact_stem").name == "meteor_exact_stem"


def test_the_jar_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(meteor_jar, "find_jar", lambda: None)
    with pytest.raises(InputError, match="needs Java and pycocoevalcap; install both") as error:
        score_reports(["a"], ["a"], "raw", meteor="jar")
    assert "\n" not in str(error.value)
