"""What was read otherwise than it was written: counted, said once on standard error, and kept for the audit."""

import dataclasses
import sys
from collections.abc import Iterable

EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Note:
    """One kind of doubtful input: what it is and what became of it, how often, and a few examples.

    Of more than EXAMPLES different ones the first are there, and "…". A count of 0 is of what is not counted, the file
    itself say.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = f" ({', '.join(self.examples)})" if self.examples else ""
        return f"{f'{self.count:,} ' if self.count else ''}{self.what}{shown}"


class Notes:
    """Collects notes; `all` are those so far, in the order in which their kinds came up."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, list[str]]] = {}

    def add(self, what: str, example: str = "", count: int = 1) -> None:
        """Counts one more, or `count` more, of a kind; the first few examples are kept."""
        before, examples = self._kinds.get(what, (0, []))
        example = " ".join(example.split())[:80]
        if example and example not in examples and len(examples) <= EXAMPLES:
            examples.append(example if len(examples) < EXAMPLES else "…")
        self._kinds[what] = before + count, examples

    @property
    def all(self) -> tuple[Note, ...]:
        """The notes so far."""
        return tuple(Note(what, count, tuple(examples)) for what, (count, examples) in self._kinds.items())


def say(source: object, notes: Iterable[Note]) -> None:
    """A line each on standard error, behind the file or folder that they are about."""
    for note in notes:
        print(f"{source}: {note}", file=sys.stderr, flush=True)
