"""Training texts drawn anew: which sections and sentences they have, in which order, in which group."""

import numpy as np
import pytest

from cxr_jax.data.pipeline import Split
from cxr_jax.data.reports import group_ids
from cxr_jax.data.text_augmentation import TextAugmentation, draw_sentences
from cxr_jax.data.tokens import learn_wordpiece, tokenize

TEXT = "Heart size is normal. The lungs are clear. There is no pneumothorax."
SENTENCES = ["Heart size is normal.", "The lungs are clear.", "There is no pneumothorax."]
SECTIONS = [(TEXT, "No acute disease."), ("", "NO ACUTE disease"), ("Lungs are clear.", "")]
REPORTS = [TEXT, "NO ACUTE disease", "Lungs are clear."]


def draws(kinds, count=300, text=TEXT):
    return [draw_sentences(text, kinds, np.random.default_rng(seed)) for seed in range(count)]


def test_sentences_are_shuffled_whole():
    found = set(draws(["shuffle"]))
    assert len(found) == 6
    for drawn in found:
        assert len(drawn) == len(TEXT)
        assert all(sentence in drawn for sentence in SENTENCES)


def test_one_sentence_at_most_is_left_out_each_as_often():
    found = draws(["leave_out"], 800)
    left_out = [[sentence for sentence in SENTENCES if sentence not in drawn] for drawn in found]
    assert {len(missing) for missing in left_out} == {0, 1}
    counts = [sum(missing == [sentence] for missing in left_out) for sentence in SENTENCES]
    counts.append(sum(not missing for missing in left_out))
    assert min(counts) > 150  # of 200
    assert " ".join(SENTENCES[1:]) in found


@pytest.mark.parametrize("text", ["Clear.", "clear lungs", ""])
def test_the_only_sentence_stays(text):
    assert set(draws(["leave_out", "shuffle"], 20, text)) == {text}


def split_of(reports, sections, terms=None):
    count = len(reports)
    return Split(
        name="train",
        source=[],
        record=np.arange(count),
        image_ids=[f"{row}.png" for row in range(count)],
        study_ids=[f"s{row}" for row in range(count)],
        patient_ids=[f"p{row}" for row in range(count)],
        views=[""] * count,
        reports=list(reports),
        sections=list(sections),
        terms=terms or [()] * count,
        labels=[frozenset()] * count,
        normal=[False] * count,
        group_ids=group_ids(reports),
    )


def config_of(kinds=(), longest=16, sentences="", positives="pair"):
    data = {"augment_text": kinds, "xxxx": "keep", "sentences": str(sentences)}
    return {"data": data, "text": {"max_tokens": longest}, "loss": {"positives": positives}}


def make(kinds, reports=REPORTS, sections=SECTIONS, longest=16):
    tokenizer = learn_wordpiece([part for parts in SECTIONS for part in parts] * 2)
    return TextAugmentation(tokenizer, split_of(reports, sections), config_of(kinds, longest)), tokenizer


def test_a_drawn_text_is_tokenized_as_any_other():
    augmented, tokenizer = make(["shuffle", "leave_out"])
    for seed in range(20):
        drawn = draw_sentences(TEXT, ["shuffle", "leave_out"], after_section(seed))
        found = augmented(0, np.random.default_rng(seed))
        ids, mask = tokenize(tokenizer, [drawn], 16)
        np.testing.assert_array_equal(found["token_ids"], ids[0])
        np.testing.assert_array_equal(found["token_mask"], mask[0])
        assert found["group_id"] == 0


def after_section(seed):
    """The generator once the only section is drawn."""
    rng = np.random.default_rng(seed)
    rng.integers(1)
    return rng


def test_sections_are_drawn_and_equal_ones_share_a_group():
    augmented, tokenizer = make(["section"], longest=32)
    found = {row: [augmented(row, np.random.default_rng(seed)) for seed in range(60)] for row in range(3)}
    texts = {
        row: {tokenizer.decode(x["token_ids"][1 : x["token_mask"].sum() - 1]) for x in drawn}
        for row, drawn in found.items()
    }
    assert len(texts[0]) == 3  # findings, impression and both
    assert len(texts[1]) == len(texts[2]) == 1
    assert texts[1] <= {text.rstrip(".") for text in texts[0]} | texts[1]
    groups = {row: {int(x["group_id"]) for x in drawn} for row, drawn in found.items()}
    assert len(groups[0]) == 3
    assert groups[1] < groups[0]  # "No acute disease." and "NO ACUTE disease" are equal
    assert not groups[2] & (groups[0] | groups[1])


@pytest.mark.parametrize("positives", ["pair", "group", "soft"])
def test_a_sentence_of_each_label_is_drawn_and_equal_labels_are_equal_but_under_pair(tmp_path, positives):
    file = tmp_path / "sentences.yaml"
    file.write_text(
        "normal: [Clear lungs., Normal chest.]\nedema: [Pulmonary edema., Wet lungs., Edema.]\nmass: [A mass.]"
    )
    # The third is of a study whose first image's labels stand for it.
    terms = [("Edema", "mass"), ("mass", "edema"), ("normal",), ("normal",)]
    reports = ["Pulmonary edema. A mass."] * 3 + ["Clear lungs."]
    tokenizer = learn_wordpiece([file.read_text()] * 2)
    split = split_of(reports, [(report, "") for report in reports], terms)
    drawn = TextAugmentation(tokenizer, split, config_of(sentences=file, positives=positives))
    texts: dict[str, set[int]] = {}
    for row in range(4):
        for seed in range(40):
            found = drawn(row, np.random.default_rng(seed))
            assert found["group_id"].dtype == np.int32
            text = tokenizer.decode(found["token_ids"][1 : found["token_mask"].sum() - 1])
            texts.setdefault(text, set()).add(int(found["group_id"]))
    assert len(texts) == 3 + 2
    assert all("a mass" in text for text in texts if "edema" in text or "wet" in text)
    assert all(len(groups) == 1 for groups in texts.values())
    assert len(set.union(*texts.values())) == (5 if positives == "pair" else 2)
