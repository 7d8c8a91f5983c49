"""METEOR 1.5 by its own jar, which pycocoevalcap (the extra `coco`) carries: synonyms and paraphrases too.

One Java process serves all calls, and is given the parts of the tables that their texts can need (`meteor_tables`),
since reading the whole takes it ten seconds. Per pair it gives the statistics that its aggregate is made of, in the
order of `meteor.meteor_statistics`, so a resample needs no second run.
"""

import atexit
import importlib.util
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


class _Jar:
    """The Java process, and the words of the texts that its tables are cut to."""

    def __init__(self) -> None:
        self._jar = require_jar()
        self._expected: set[bytes] = set()
        self._words: set[bytes] = set()
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        atexit.register(self.stop)

    def expect(self, texts: Iterable[str]) -> None:
        with _one_line():
            self._expected |= _tables(self._jar).useful_words(texts)

    def answers(self, references: Sequence[str], predictions: Sequence[str]) -> list[list[float]]:
        """What the jar says of each pair, in its order."""
        self.expect({*references, *predictions})
        answers: list[list[float]] = []
        try:
            with _one_line():
                if self._process is None or not self._expected <= self._words:
                    self._start()
                assert self._process is not None
                sent, received = self._process.stdin, self._process.stdout
                assert sent is not None
                assert received is not None
                for number, sides in enumerate(zip(references, predictions, strict=True)):
                    line = (" ".join(text.replace("|||", " ").split()) for text in sides)
                    sent.write("SCORE ||| {} ||| {}\n".format(*line))
                    sent.flush()
                    if number >= _AHEAD:
                        answers.append(_read(received))
                answers += [_read(received) for _ in range(len(references) - len(answers))]
        except BaseException:  # or the next call would read what is left of the answers to this one
            self.stop()
            raise
        return answers

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> None:
        self.stop()
        self._folder = tempfile.TemporaryDirectory(prefix="meteor")
        self._words |= self._expected
        options = _tables(self._jar).write(Path(self._folder.name), self._words)
        # -norm lets the jar lower-case and split off punctuation, as pycocoevalcap does.
        command = ["java", *_JAVA, *_LOCALE, "-jar", str(self._jar), "-", "-", "-stdio", "-l", "en", "-norm", *options]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8"
        )


@lru_cache(maxsize=1)
def _running() -> _Jar:
    return _Jar()


@lru_cache(maxsize=1)
def _tables(jar: Path) -> Tables:
    return Tables(jar)


def _read(received: IO[str]) -> list[float]:
    answer = [float(word) for word in received.readline().split()]
    if len(answer) != _COLUMNS:
        raise ValueError(f"{len(answer)} numbers for {_COLUMNS}")
    return answer


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"METEOR's jar has stopped ({error}); mend Java, or uninstall pycocoevalcap") from error
