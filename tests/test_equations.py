"""The README's table of equations: every symbol exists, and the first line of its docstring cites the equation."""

import importlib
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
ROW = re.compile(r"^\|\s*(\d+)\s*\|\s*`([\w.]+)`\s*\|", re.MULTILINE)
CITATION = re.compile(r"Eq\. (\(\d+\)(?:(?:-|, | and )\(\d+\))*)")


def cited(first_line: str) -> set[int]:
    """The equations in `Eq. (5)`, `Eq. (8) and (9)`, `Eq. (1), (2) and (4)`, `Eq. (8)-(12)`."""
    numbers: set[int] = set()
    for citation in CITATION.findall(first_line):
        for first, last in re.findall(r"\((\d+)\)(?:-\((\d+)\))?", citation):
            numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def resolve(symbol: str):
    """The object at a dotted path: the longest part that is a module, then attributes."""
    parts = symbol.split(".")
    for i in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[i:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(symbol)


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("Eq. (5): the mean", {5}),
        ("Eq. (8) and (9): convolutions", {8, 9}),
        ("Eq. (1), (2) and (4): BERT", {1, 2, 4}),
        ("The tower, Eq. (8)-(12).", {8, 9, 10, 11, 12}),
        ("Five, (5), and no citation", set()),
    ],
)
def test_citations_are_read(line, numbers):
    assert cited(line) == numbers


def test_readme_maps_every_equation():
    numbers = {int(n) for n, _ in ROW.findall(README.read_text("utf-8"))}
    assert numbers == set(range(1, 16)), "README.md needs a row `| n | `symbol` | …` for each of Eq. (1)-(15)"


@pytest.mark.parametrize(("number", "symbol"), ROW.findall(README.read_text("utf-8")))
def test_symbol_is_its_equation(number, symbol):
    docstring = resolve(symbol).__doc__
    assert docstring, f"{symbol} has no docstring"
    assert int(number) in cited(docstring.splitlines()[0]), f"{symbol}'s first line does not cite Eq. ({number})"
