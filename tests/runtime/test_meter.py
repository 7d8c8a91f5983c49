"""What the meter reads, by a clock that stands still unless it is told to move."""

import pytest

from cxr_jax.runtime import meter as meters
from cxr_jax.runtime.meter import Meter
from cxr_jax.runtime.metric_writers import TIMINGS


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(meters, "time", clock)
    monkeypatch.setattr(meters.parallel, "peak_memory", lambda: 0)
    return clock


def steps(meter, clock, count, waited, worked):
    for _ in range(count):
        with meter.waiting_for_data():
            clock.now += waited
        clock.now += worked


def test_pairs_a_second_and_the_wait_for_data(clock):
    meter = Meter(batch_size=64, flops=0.0)
    steps(meter, clock, 4, waited=0.25, worked=0.75)
    assert meter.read() == {"pairs_per_second": 64, "step_seconds": 1, "data_wait_seconds": 0.25}
    # Since that reading, not since the start.
    steps(meter, clock, 2, waited=0, worked=0.5)
    assert meter.read() == {"pairs_per_second": 128, "step_seconds": 0.5, "data_wait_seconds": 0}


def test_validations_are_left_out(clock):
    meter = Meter(batch_size=64, flops=0.0)
    steps(meter, clock, 2, waited=0, worked=1)
    with meter.leaving_out():
        clock.now += 1000
    steps(meter, clock, 2, waited=0, worked=1)
    assert meter.read()["pairs_per_second"] == 64
    with meter.leaving_out():
        clock.now += 1000
    steps(meter, clock, 1, waited=0, worked=2)
    assert meter.read()["pairs_per_second"] == 32


def test_utilisation_and_memory_where_they_are_known(clock, monkeypatch):
    monkeypatch.setattr(meters.parallel, "peak_flops", lambda: 10e12)
    monkeypatch.setattr(meters.parallel, "peak_memory", lambda: 123)
    meter = Meter(batch_size=64, flops=4e12)
    steps(meter, clock, 2, waited=0.5, worked=0.5)
    values = meter.read()
    assert values["model_flop_utilisation"] == 0.4
    assert values["device_memory_bytes"] == 123
    assert set(values) == set(TIMINGS)


def test_without_the_steps_flops_there_is_no_utilisation(clock, monkeypatch):
    monkeypatch.setattr(meters.parallel, "peak_flops", lambda: 10e12)
    meter = Meter(batch_size=64, flops=0.0)
    steps(meter, clock, 1, 0, 1)
    assert "model_flop_utilisation" not in meter.read()
