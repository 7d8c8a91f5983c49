"""METEOR 1.5 by its own jar, which pycocoevalcap (the extra `coco`) carries: synonyms and paraphrases too.

One Java process serves all calls, since reading the tables takes it seconds. Per pair it gives the statistics that its
aggregate is made of, in the order of `meteor.meteor_statistics`, so a resample needs no second run.
"""

import atexit
import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from cxr_jax.errors import InputError

# METEOR 1.5's for English: of a match by the exact, stem, synonym and paraphrase module, and of a content word.
MODULE_WEIGHTS = (1.0, 0.6, 0.8, 0.6)
DELTA = 0.75
# Whatever the machine's: a comma in a number, a dotless i in lower case, a "?" for an umlaut would change scores.
_LOCALE = [
    *("-Duser.language=en", "-Duser.language.format=en", "-Duser.country=US", "-Duser.country.format=US"),
    *("-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-Dsun.stdout.encoding=UTF-8"),
]
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
    lines = [_ask(*pair) for pair in zip(references, predictions, strict=True)]
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


@lru_cache(maxsize=1)
def _process() -> "subprocess.Popen[str]":
    jar = require_jar()
    # -norm lets the jar lower-case and split off punctuation, as pycocoevalcap does.
    command = ["java", "-Xmx2G", *_LOCALE, "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8")
    atexit.register(_stop, process)
    return process


def _stop(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def _ask(reference: str, prediction: str) -> list[float]:
    process = _process()
    sent: IO[str] | None = process.stdin
    received: IO[str] | None = process.stdout
    assert sent is not None
    assert received is not None
    sides = (" ".join(text.replace("|||", " ").split()) for text in (reference, prediction))
    try:
        sent.write("SCORE ||| {} ||| {}\n".format(*sides))
        sent.flush()
        answer = [float(word) for word in received.readline().split()]
        if len(answer) != _COLUMNS:
            raise ValueError(f"{len(answer)} numbers for {_COLUMNS}")
    except (OSError, ValueError) as error:
        process.kill()
        _process.cache_clear()
        raise InputError(f"METEOR's jar has stopped ({error}); mend Java, or uninstall pycocoevalcap") from error
    return answer
