"""Findings and reports that the tests of the phantom run through."""

from cxr_jax.phantom.release import study_findings_and_report
from cxr_jax.phantom.reports import KINDS, Finding


def sampled(count, seed=0):
    for number in range(1, count + 1):
        yield study_findings_and_report(seed, number)


def every_finding():
    """Each combination of kind, side, place and severity that the sampler can draw."""
    for name, kind in KINDS.items():
        for side in kind.sides:
            for place in kind.places:
                for severity in kind.severities:
                    if (side, place) != ("left", "middle lobe"):
                        yield Finding(name, side, place, severity)
