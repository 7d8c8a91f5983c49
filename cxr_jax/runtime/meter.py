"""How fast training is, and where its time goes: validations and checkpoints are left out of it."""

import contextlib
import time
from collections.abc import Iterator

from cxr_jax.runtime import parallel


class Meter:
    """Times the steps between two lines of metrics.

    Args:
      batch_size: pairs a step, all devices together.
      flops: of a step, all devices together; 0 where that is not known.
    """

    def __init__(self, batch_size: int, flops: float):
        self.batch_size, self.flops, self.peak = batch_size, flops, parallel.peak_flops()
        self._begin()

    def _begin(self) -> None:
        self._since, self._steps, self._waited, self._left_out = time.perf_counter(), 0, 0.0, 0.0

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """The body gets the next batch; a step follows."""
        begun = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begun
        self._steps += 1

    @contextlib.contextmanager
    def leaving_out(self) -> Iterator[None]:
        """The body's time is no step's."""
        begun = time.perf_counter()
        yield
        self._left_out += time.perf_counter() - begun

    def read(self) -> dict[str, float]:
        """Since the last reading; the keys are `metric_writers.TIMINGS`. Call it when the last step is done."""
        seconds = time.perf_counter() - self._since - self._left_out
        per_step = seconds / max(self._steps, 1)
        values = {
            "pairs_per_second": round(self.batch_size / per_step, 2),
            "step_seconds": round(per_step, 5),
            "data_wait_seconds": round(self._waited / max(self._steps, 1), 5),
        }
        if self.flops and self.peak:
            values["model_flop_utilisation"] = round(self.flops / per_step / self.peak, 4)
        if memory := parallel.peak_memory():
            values["device_memory_bytes"] = memory
        self._begin()
        return values
