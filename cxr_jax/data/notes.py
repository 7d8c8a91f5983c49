"""What was read otherwise than it was written: counted, said once on standard error, and kept for the audit."""

import dataclasses
import sys
from collections.abc import Iterable

EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Note:
    """One kind of doubtful input: what it is and what became of it, how often, and a few examples.

    Of more than EXAMPLES different ones the first are there, and "…". A count of 0 is of what is not counted, the file
    itself say. `check` is the audit's row that it counts for (`evaluation.checks`), empty where it is none of them.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()
    check: str = ""

    def __str__(self) -> str:
        shown = f" ({', '.join(self.examples)})" if self.examples else ""
        return f"{f'{self.count:,} ' if self.count else ''}{self.what}{shown}"


class Notes:
    """Collects notes; `all` are those so far, in the order in which their kinds came up."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, list[str], str]] = {}

    def add(self, what: str, example: str = "", count: int = 1, check: str = "") -> None:
        """Counts one more, or `count` more, of a kind; the first few examples are kept."""
        before, examples, _ = self._kinds.get(what, (0, [], ""))
        example = " ".join(example.split())[:80]
        if example and example not in examples and len(examples) <= EXAMPLES:
            examples.append(example if len(examples) < EXAMPLES else "…")
        self._kinds[what] = before + count, examples, check

    @property
    def all(self) -> tuple[Note, ...]:
        """The notes so far."""
        kinds = self._kinds.items()
        return tuple(Note(what, count, tuple(examples), check) for what, (count, examples, check) in kinds)


def say(source: object, notes: Iterable[Note]) -> None:
    """A line each on standard error, behind the file or folder that they are about."""
    for note in notes:
        print(f"{source}: {note}", file=sys.stderr, flush=True)
