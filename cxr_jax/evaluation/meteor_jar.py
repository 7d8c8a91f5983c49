"""METEOR 1.5 by its own jar, which pycocoevalcap (the extra `coco`) carries: synonyms and paraphrases too.

One Java process serves all calls, and is given the parts of the tables that their texts can need (`meteor_tables`),
since reading the whole takes it ten seconds. Per pair it gives the statistics that its aggregate is made of, in the
order of `meteor.meteor_statistics`, so a resample needs no second run.
"""

import atexit
import importlib.util
import re
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from cxr_jax.errors import InputError
from cxr_jax.evaluation.meteor_tables import Tables

# METEOR 1.5's for English: of a match by the exact, stem, synonym and paraphrase module, and of a content word.
MODULE_WEIGHTS = (1.0, 0.6, 0.8, 0.6)
DELTA = 0.75
# Whatever the machine's: a comma in a number, a dotless i in lower case, a "?" for an umlaut would change scores.
_LOCALE = [
    *("-Duser.language=en", "-Duser.language.format=en", "-Duser.country=US", "-Duser.country.format=US"),
    *("-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-Dsun.stdout.encoding=UTF-8"),
]
# It works for seconds, not for hours: the cheaper compiler pays, and does not take the second core.
_JAVA = ["-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
# What the jar need not be asked to split, which is a third of its work. Of "a-b-c" it splits one hyphen, so not that.
_PLAIN = re.compile(r"\.|<unk>|[A-Za-z0-9]+(?:-[A-Za-z0-9]{2,})*(?:-[A-Za-z0-9])?")
_MANY_WORDS = 10_000  # with more of them the tables are not cut
_AHEAD = 64  # pairs sent before the first answer is read; the answers to so many fit the pipe
_COLUMNS = 4 + 4 * len(MODULE_WEIGHTS) + 3


def find_jar() -> Path | None:
    """The jar, where it and Java are installed."""
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None or not package.submodule_search_locations or not shutil.which("java"):
        return None
    jar = Path(package.submodule_search_locations[0]) / "meteor" / "meteor-1.5.jar"
    return jar if jar.is_file() else None


def require_jar() -> Path:
    """The jar.

    Raises:
      InputError: it or Java is missing.
    """
    jar = find_jar()
    if jar is None:
        raise InputError('METEOR: its jar needs Java and pycocoevalcap; install both (pip install "cxr_jax[coco]")')
    return jar


def jar_statistics(references: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """float64 (n, 6), as `meteor.meteor_statistics`, by the jar.

    Raises:
      InputError: Java or the jar is missing or stopped working.
    """
    lines = _running().answers(references, predictions)
    counts = np.array(lines, np.float64).reshape(-1, _COLUMNS)
    lengths, stages = counts[:, :4], counts[:, 4:-3].reshape(-1, len(MODULE_WEIGHTS), 4)
    content_p, content_r, function_p, function_r = np.moveaxis(stages, -1, 0) @ np.array(MODULE_WEIGHTS)
    words_p, words_r, functions_p, functions_r = lengths.T
    matches, chunks = counts[:, -2:].mean(axis=1), counts[:, -3]
    whole = (chunks == 1) & (matches == (words_p + words_r) / 2)
    return np.stack(
        [
            DELTA * content_p + (1 - DELTA) * function_p,
            DELTA * (words_p - functions_p) + (1 - DELTA) * functions_p,
            DELTA * content_r + (1 - DELTA) * function_r,
            DELTA * (words_r - functions_r) + (1 - DELTA) * functions_r,
            matches,
            np.where(whole, 0, chunks),
        ],
        axis=1,
    )


def expect(texts: Iterable[str]) -> None:
    """Says which texts will be among those of the next calls, so that the process need not begin anew for each.

    Raises:
      InputError: as `jar_statistics`.
    """
    _running().expect(texts)


def stop() -> None:
    """Ends the process, where there is one; the next call begins another."""
    if find_jar():
        _running().stop()


class _Jar:
    """The Java process, and the words of the texts that its tables are cut to."""

    def __init__(self) -> None:
        self._jar = require_jar()
        self._expected: set[bytes] = set()
        self._words: set[bytes] = set()
        self._splits = False  # whether it is the jar that splits the texts
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        atexit.register(self.stop)

    def expect(self, texts: Iterable[str]) -> None:
        """As the module's `expect`."""
        with _one_line():
            self._expected |= _tables(self._jar).useful_words(texts)

    def answers(self, references: Sequence[str], predictions: Sequence[str]) -> list[list[float]]:
        """What the jar says of each pair, in its order."""
        split = {text: split_plain(text) for text in {*references, *predictions}}
        splits = None in split.values()
        self.expect(split)
        lines = (
            "SCORE ||| {} ||| {}\n".format(*(_one_sentence(text if splits else split[text] or "") for text in pair))
            for pair in zip(references, predictions, strict=True)
        )
        try:
            with _one_line():
                known = len(self._words) > _MANY_WORDS or self._expected <= self._words
                if self._process is None or self._splits != splits or not known:
                    self._start(splits)
                assert self._process is not None
                return list(_ask(self._process, lines))
        except BaseException:  # or the next call would read what is left of the answers to this one
            self.stop()
            raise

    def stop(self) -> None:
        """As the module's `stop`."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self, splits: bool) -> None:
        self.stop()
        self._splits, self._words = splits, self._words | self._expected
        # -norm lets the jar lower-case and split off punctuation, as pycocoevalcap does.
        options = ["-l", "en", "-norm" if splits else "-lower"]
        if len(self._words) <= _MANY_WORDS:
            self._folder = tempfile.TemporaryDirectory(prefix="meteor")
            options += _tables(self._jar).write(Path(self._folder.name), self._words)
        command = ["java", *_JAVA, *_LOCALE, "-jar", str(self._jar), "-", "-", "-stdio", *options]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8")


@lru_cache(maxsize=1)
def _running() -> _Jar:
    return _Jar()


@lru_cache(maxsize=1)
def _tables(jar: Path) -> Tables:
    return Tables(jar)


def split_plain(text: str) -> str | None:
    """The text as the jar splits it, where that is plain to see; None where it is left to the jar."""
    if not all(map(_PLAIN.fullmatch, text.split())):
        return None
    return text.replace("-", " ").replace("<unk>", "< unk >")


def _one_sentence(text: str) -> str:
    return " ".join(text.replace("|||", " ").split())


def _ask(process: "subprocess.Popen[str]", lines: Iterable[str]) -> Iterator[list[float]]:
    sent: IO[str] | None = process.stdin
    received: IO[str] | None = process.stdout
    assert sent is not None
    assert received is not None
    waiting = 0
    for line in lines:
        sent.write(line)
        sent.flush()
        waiting += 1
        if waiting > _AHEAD:
            yield _numbers(received.readline())
            waiting -= 1
    for _ in range(waiting):
        yield _numbers(received.readline())


def _numbers(line: str) -> list[float]:
    answer = [float(word) for word in line.split()]
    if len(answer) != _COLUMNS:
        raise ValueError(f"{len(answer)} numbers for {_COLUMNS}")
    return answer


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"METEOR's jar has stopped ({error}); mend Java, or uninstall pycocoevalcap") from error
