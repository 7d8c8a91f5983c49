"""What one sees of training: a bar on a terminal, a plain line a `log_every` anywhere else; the primary's alone."""

import sys
from types import TracebackType

from tqdm import tqdm

from cxr_jax.runtime import processes


class Progress:
    """Counts steps, on standard error."""

    def __init__(self, first_step: int, last_step: int):
        self.step, self.last_step = first_step, last_step
        terminal = sys.stderr.isatty() and processes.is_primary()
        self._bar = tqdm(
            total=last_step, initial=first_step, unit="step", desc="training", dynamic_ncols=True, disable=not terminal
        )

    def advance(self) -> None:
        """One step more."""
        self.step += 1
        self._bar.update()

    def show(self, text: str) -> None:
        """The newest metrics: beside the bar, or as a line."""
        if not processes.is_primary():
            return
        if self._bar.disable:
            print(f"step {self.step}/{self.last_step}: {text}", file=sys.stderr, flush=True)
        else:
            self._bar.set_postfix_str(text)

    def say(self, text: str) -> None:
        """A line that stays, above the bar where there is one; on standard output."""
        if processes.is_primary():
            tqdm.write(text)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
