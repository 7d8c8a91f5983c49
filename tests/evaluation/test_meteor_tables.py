"""The parts of METEOR's tables, without Java: made-up tables cut to the words of texts, against a naive cut."""

import gzip
import zipfile

import numpy as np
import pytest

from cxr_jax.evaluation import meteor_tables
from cxr_jax.evaluation.meteor_tables import Tables, possible_words

WORDS = ["no", "effusion", "fluid", "the", "heart", "size", "\u00f6dem", "of"]


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    phrases = [" ".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(400)]
    return [*zip(phrases[::2], phrases[1::2], strict=True), ("no", "no"), ("no no", "no")]


@pytest.fixture
def jar(tmp_path, monkeypatch, pairs):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(meteor_tables, "_CHUNK", 100)  # bytes, so that pairs lie across its edges
    meteor_tables.cached_paraphrases.cache_clear()
    (tmp_path / "data").mkdir()
    with gzip.open(tmp_path / "data" / "paraphrase-en.gz", "wt", encoding="utf-8") as table:
        table.writelines(f"0.0{i}\n{first}\n{second}\n" for i, (first, second) in enumerate(pairs))
    with zipfile.ZipFile(tmp_path / "meteor.jar", "w") as archive:
        archive.writestr("synonym/english.synsets", "heart\n01 02\nfoot\n03\nadmire\n04\nladder\n05\n")
        archive.writestr("synonym/english.exceptions", "foot\nfeet footsies\ngo\nwent gone\n")
    yield tmp_path / "meteor.jar"
    meteor_tables.cached_paraphrases.cache_clear()


def cut(jar, folder, text):
    folder.mkdir()
    tables = Tables(jar)
    options = tables.write(folder, tables.useful_words([text]))
    lines = gzip.decompress((folder / "paraphrase.gz").read_bytes()).decode().splitlines()
    assert options == ["-a", str(folder / "paraphrase.gz"), "-d", str(folder / "synonym")]
    synonyms = [(folder / "synonym" / f"english.{part}").read_text().splitlines() for part in ("exceptions", "synsets")]
    assert not (folder / "synonym" / "english.relations").read_bytes()
    return [*zip(lines[1::3], lines[2::3], strict=True)], *synonyms


@pytest.mark.parametrize(
    "text", ["No effusion", "the heart-size of", "\u00d6dem, no fluid.", "nothing", "", "no", " ".join(WORDS)]
)
def test_the_pairs_of_phrases_within_a_text_are_kept_in_their_order(jar, tmp_path, pairs, text):
    words = possible_words([text])
    expected = [pair for pair in pairs if words.issuperset(" ".join(pair).split())]
    assert cut(jar, tmp_path / "cut", text)[0] == expected
    assert expected or text in ("nothing", "")


def test_synonyms_are_kept_for_the_forms_that_are_looked_up(jar, tmp_path):
    _, forms, synsets = cut(jar, tmp_path / "cut", "Two FEET were admiring hearts")
    assert forms == ["foot", "feet footsies"]
    assert synsets == ["admire", "04", "foot", "03", "heart", "01 02"]


def test_the_table_is_read_once_on_a_machine(jar, tmp_path, monkeypatch):
    first = cut(jar, tmp_path / "first", "no heart")
    meteor_tables.cached_paraphrases.cache_clear()
    monkeypatch.setattr(meteor_tables, "read_paraphrases", None)
    assert cut(jar, tmp_path / "second", "no heart") == first
    (folder,) = (tmp_path / "cache" / "cxr_jax").iterdir()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for damage in (b"", b"no array"):
        (folder / "starts.npy").write_bytes(damage)
        meteor_tables.cached_paraphrases.cache_clear()
        assert cut(jar, tmp_path / f"after{len(damage)}", "no heart") == first
        assert (folder / "starts.npy").stat().st_size > 1000


def test_where_nothing_can_be_kept_it_is_read_all_the_same(jar, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cut(jar, tmp_path / "cut", "no heart")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X-ray U.S.A. don\u2019t", ["x", "ray", "u", "usa", "don", "'t", "t"]),
        ("<unk>", ["<", "unk", ">"]),
        ("\u201cno\u201d 10,000", ['"', "no", "10,000", "10", "000"]),
    ],
)
def test_whatever_the_jar_may_make_of_a_token_is_among_its_words(text, words):
    assert possible_words([text]).issuperset(words)
    assert len(possible_words(["\u00e4" * 5000])) == 1 + 64  # of a token without end, no more than the tables can hold
