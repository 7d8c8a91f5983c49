"""Tables of risk, coverage and calibration, from metrics.json."""

from collections.abc import Mapping
from typing import Any

from cxr_jax.evaluation.tables import Table

CONFIDENCES = {
    "likeness": "likeness: most alike training picture",
    "embedding": "embedding: nearest training images",
    "agreement": "agreement of the neighbours",
    "similarity": "similarity of the nearest report",
    "support": "support: the neighbours' of the draft",
    "random": "random order",
    "oracle": "oracle order",
}


def selective_tables(metrics: Mapping[str, Any]) -> dict[str, Table]:
    """{title: table} of the area under the risk-coverage curve and of calibration; empty where there is neither."""
    tables = {}
    if "selective" in metrics:
        tables["Risk left where the least trusted images are not answered (AURC, less is better)"] = _areas(metrics)
    if "calibration" in metrics:
        tables["Calibration of the votes that affirm an observation"] = _calibration(metrics["calibration"])
    return tables


def _areas(metrics: Mapping[str, Any]) -> Table:
    selective = metrics["selective"]
    rows = []
    for name, area in sorted(selective["aurc"].items(), key=lambda item: item[1]):
        change = selective["differences"].get(name)
        less = ""
        if change is not None:
            less = "{:+.3f} ({:+.3f} to {:+.3f})".format(change["difference"], *change["interval"])
        ends = "{:.3f}-{:.3f}".format(*selective["intervals"][name])
        rows.append([CONFIDENCES[name], f"{area:.3f}", ends, less])
    return Table(["images in the order of", "AURC", "95 % interval", "difference from random"], rows)


def _calibration(splits: Mapping[str, Any]) -> Table:
    rows = [[name, str(of["n"]), f"{of['ece']:.3f}", f"{of['ece_always_denied']:.3f}"] for name, of in splits.items()]
    return Table(["split", "images", "ECE", "of 0 for all"], rows)
