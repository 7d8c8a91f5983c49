"""The parts of METEOR's tables that given texts can need: the jar takes seconds to read them whole.

A paraphrase is of use only where all its words stand in the texts, a synonym where its own does. Which paraphrases
those are is looked up in an index of the jar's table. It is made once on a machine, in about the time that the jar
takes to read the table, and kept in the user's cache (120 MB). What the jar answers is the same to the last digit
(tests/evaluation/test_meteor_jar.py holds that), for what is left out could not have matched.
"""

import gzip
import os
import shutil
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import count
from pathlib import Path

import numpy as np

_CHUNK = 1 << 24  # bytes of the table read at a time
# How a word is written within a phrase, as its last, as a pair's first, and as both; 1 stands for the probability.
_WRITTEN = (b"%b ", b"%b\n", b"1\n%b ", b"1\n%b\n")
_LONGEST = 64  # characters; no word of the tables has as many
# As the jar's normaliser writes them.
_MARKS = str.maketrans({"`": "'", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-"})
# To find a word's synonyms the jar takes an end of at most so many letters off it, and may put one of these there.
_LONGEST_END, _NEW_ENDS = 4, (b"", b"e", b"y", b"man", b"ful", b"eful", b"yful", b"manful")


@dataclass(frozen=True)
class Paraphrases:
    """Pairs of phrases as the jar's table has them; their probabilities are left out, for METEOR 1.5 does not use them.

    words: bytes strings, the most frequent first; a word's place is its number.
    numbers: (words of all phrases,), in the table's order.
    starts: int64 (pairs + 1,), where each pair begins among the numbers, and where the last ends.
    firsts: uint8 (pairs,), words of the first of the two phrases.
    rarest: (2, pairs), the highest number of each pair, and the highest of the lower ones, where there are any.
    """

    words: np.ndarray
    numbers: np.ndarray
    starts: np.ndarray
    firsts: np.ndarray
    rarest: np.ndarray

    def within(self, words: Set[bytes]) -> bytes:
        """The pairs of phrases that consist of these words, as the jar reads them, in the table's order."""
        spelled = self.words.tolist()
        inside = np.array([word in words for word in spelled], bool)
        # One look-up leaves most pairs out, two nearly all.
        rows = np.flatnonzero(inside[self.rarest[0]])
        rows = rows[inside[self.rarest[1, rows]]]
        starts, ends = self.starts[rows], self.starts[rows + 1]
        offsets = np.cumsum(ends - starts) - (ends - starts)
        numbers = self.numbers[np.repeat(starts - offsets, ends - starts) + np.arange((ends - starts).sum())]
        whole = np.logical_and.reduceat(inside[numbers], offsets) if len(rows) else np.zeros(0, bool)
        places = np.zeros(len(numbers), np.int64)
        places[offsets] += 2
        for last in (offsets + self.firsts[rows], np.append(offsets[1:], len(numbers))[: len(rows)]):
            places[last - 1] += 1
        codes = (numbers.astype(np.int64) * len(_WRITTEN) + places)[np.repeat(whole, ends - starts)]
        distinct, codes = np.unique(codes, return_inverse=True)
        written = [_WRITTEN[code % len(_WRITTEN)] % spelled[code // len(_WRITTEN)] for code in distinct.tolist()]
        return b"".join(map(written.__getitem__, codes.tolist()))


def read_paraphrases(table: Path) -> Paraphrases:
    """Those of the jar's table, a gzip of three lines a pair: probability, phrase, phrase."""
    number: defaultdict[bytes, int] = defaultdict(count().__next__)
    parts, rest, end = [], b"", b"\0"
    assert number[end] == 0
    with gzip.open(table, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            lines = (rest + chunk).split(b"\n")
            whole = (len(lines) - 1) // 3 * 3  # the last line may go on
            rest = b"\n".join(lines[whole:])
            del lines[whole:], lines[::3]
            words = (b" %b " % end).join([*lines, b""]).split()
            parts.append(np.fromiter(map(number.__getitem__, words), np.int32, len(words)))
    flat = np.concatenate(parts)
    lengths = np.diff(np.flatnonzero(flat == 0), prepend=-1).reshape(-1, 2) - 1
    flat = flat[flat > 0] - 1
    order = np.argsort(-np.bincount(flat), kind="stable")
    rank = np.empty(len(order), np.min_scalar_type(len(order)))
    rank[order] = np.arange(len(order))
    numbers, starts = rank[flat], np.concatenate([[0], np.cumsum(lengths.sum(axis=1))])
    return Paraphrases(
        words=np.array(list(number)[1:])[order],
        numbers=numbers,
        starts=starts,
        firsts=lengths[:, 0].astype(np.uint8),
        rarest=_two_highest(numbers, starts),
    )


def _two_highest(numbers: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(2, runs): of each run of numbers the highest, and the highest of the lower ones; equal where there are none."""
    highest = np.maximum.reduceat(numbers, starts[:-1])
    lower = np.where(numbers < np.repeat(highest, np.diff(starts)), numbers, np.int32(-1))
    second = np.maximum.reduceat(lower, starts[:-1])
    return np.stack([highest, np.where(second < 0, highest, second).astype(highest.dtype)])


@lru_cache(maxsize=1)
def cached_paraphrases(table: Path) -> Paraphrases:
    """`read_paraphrases`, from the user's cache ($XDG_CACHE_HOME, else ~/.cache), where it is put if it can be."""
    with table.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        checksum = stream.read(8).hex()  # gzip's own, of what is in it
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxr_jax"
    folder = root / f"meteor-{checksum}"
    names = [field.name for field in fields(Paraphrases)]
    try:
        return Paraphrases(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names})
    except (OSError, ValueError, EOFError):
        paraphrases = read_paraphrases(table)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as beside:
            new = Path(beside) / "new"
            new.mkdir()
            for name in names:
                np.save(new / f"{name}.npy", getattr(paraphrases, name))
            shutil.rmtree(folder, ignore_errors=True)  # one that cannot be read
            new.rename(folder)
    except OSError:
        pass  # no room, or another process was faster
    return paraphrases


class Tables:
    """What lies beside and in METEOR 1.5's jar: paraphrases, and synonyms with the irregular forms of words."""

    def __init__(self, jar: Path):
        self._paraphrases = cached_paraphrases(jar.parent / "data" / "paraphrase-en.gz")
        with zipfile.ZipFile(jar) as archive:
            synsets, forms = (
                archive.read(f"synonym/english.{part}").splitlines() for part in ("synsets", "exceptions")
            )
        self._synsets = dict(zip(synsets[::2], synsets[1::2], strict=True))
        self._bases = [(base, line.split()) for base, line in zip(forms[::2], forms[1::2], strict=True)]
        self._known = {*self._paraphrases.words.tolist(), *(form for _, of_base in self._bases for form in of_base)}

    def useful_words(self, texts: Iterable[str]) -> set[bytes]:
        """The words that may stand in the texts, as the jar splits them, and of which the tables say something."""
        return set(filter(self._says_something, {word.encode() for word in possible_words(texts)}))

    def _says_something(self, word: bytes) -> bool:
        return word in self._known or any(base in self._synsets for base in _bases(word))

    def write(self, folder: Path, words: Set[bytes]) -> list[str]:
        """Writes there what is of use with these words; returns the jar's options that make it read that alone."""
        with gzip.open(folder / "paraphrase.gz", "wb", compresslevel=1) as stream:
            stream.write(self._paraphrases.within(words))
        irregular = [(base, forms) for base, forms in self._bases if not words.isdisjoint(forms)]
        bases = {base for word in words for base in _bases(word)}.union(base for base, _ in irregular)
        synonyms = folder / "synonym"
        synonyms.mkdir()
        (synonyms / "english.exceptions").write_bytes(b"".join(b"%b\n%b\n" % (b, b" ".join(f)) for b, f in irregular))
        known = sorted(bases & self._synsets.keys())
        (synonyms / "english.synsets").write_bytes(b"".join(b"%b\n%b\n" % (b, self._synsets[b]) for b in known))
        (synonyms / "english.relations").touch()  # read, but never asked
        return ["-a", str(folder / "paraphrase.gz"), "-d", str(synonyms)]


def possible_words(texts: Iterable[str]) -> set[str]:
    """At least the words that the jar makes of the texts: every part of what holds marks or other letters than ours."""
    words = {'"'}
    for token in {token for text in texts for token in text.translate(_MARKS).lower().split()}:
        if token.isascii() and token.isalnum():
            words.add(token)
            continue
        for whole in {token, token.replace(".", "")}:  # an abbreviation loses its full stops
            ends = [range(start + 1, min(start + _LONGEST, len(whole)) + 1) for start in range(len(whole))]
            words.update(whole[start:end] for start, of_start in enumerate(ends) for end in of_start)
    return words


def _bases(word: bytes) -> Iterator[bytes]:
    """At least what the jar looks a word's synonyms up by."""
    yield word
    for length in range(1, min(_LONGEST_END, len(word) - 1) + 1):
        for end in _NEW_ENDS:
            yield word[:-length] + end
