"""Audits a data set before anything is trained on it: what its splits hold, and what leaks between them.

    python -m cxr_jax.audit --config configs/base.py --out audit [--config.data.path=DIR --config.data.split=r2gen …]
    python -m cxr_jax.audit --config configs/pairs.py --out audit --fail_on unreadable_images 'near_copies>5%'

Counted over studies, as retrieval is: a study's report stands once, however many images it has. The set is prepared as
training would prepare it, but what cannot be read, and rows without a report, are counted instead of refused. With
--fail_on the audit ends with exit code 2 where a check has found something, or more than it may.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_jax import config as configuration
from cxr_jax.data import pipeline
from cxr_jax.data.tokens import tokenize, whole_lengths
from cxr_jax.errors import ArgumentParser, InputError, run_command
from cxr_jax.evaluation.audit import audit
from cxr_jax.evaluation.audit_tables import audit_tables
from cxr_jax.evaluation.checks import Tokens, failures, parse_limits
from cxr_jax.evaluation.tables import format_table
from cxr_jax.files import write_json
from cxr_jax.pages.page import write_tables
from cxr_jax.weights.tokenizer import tokenizer_of


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="a configuration file, see configs/")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="folder for audit.json and index.html")
    parser.add_argument(
        "--fail_on",
        nargs="+",
        default=[],
        metavar="CHECK[>N|>P%]",
        help="checks that must find nothing, or no more; any",
    )
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    limits = parse_limits(arguments.fail_on)
    overrides = [*configuration.overrides(rest), "data.unreadable=drop", "data.placeholders=drop"]
    config = configuration.load(arguments.config, overrides)
    splits, source = pipeline.load_splits(config)
    result = audit(splits, source.notes, count_tokens(config, splits), config["text"]["max_tokens"])
    title = f"{source.description}, section {config['data']['section']}, {config['data']['view']} views"
    shown = {name: table for name, table in audit_tables(result).items() if table.rows}
    for name, table in shown.items():
        print(f"\n{name}\n{format_table(*table)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "audit.json", {"dataset": source.description, "fingerprint": source.name, **result})
    write_tables(arguments.out / "index.html", title, shown)
    print(f"\npage: {arguments.out / 'index.html'}")
    if failed := failures(result["checks"], limits):
        raise InputError(f"{source.source}: --fail_on {', '.join(failed)}; {arguments.out / 'audit.json'} lists them")


def count_tokens(config: Mapping[str, Any], splits: Mapping[str, pipeline.Split]) -> dict[str, Tokens] | str:
    """Each split's tokens, counted by the tokenizer that training would use; or why there is none."""
    try:
        tokenizer = tokenizer_of(config, splits["train"].reports)
    except InputError as error:
        return str(error)
    longest, xxxx = config["text"]["max_tokens"], config["data"]["xxxx"]
    result = {}
    for name, split in splits.items():
        ids, mask = tokenize(tokenizer, split.reports, longest, xxxx)
        lengths = whole_lengths(tokenizer, split.reports, mask, xxxx)
        result[name] = Tokens(lengths.tolist(), (ids == tokenizer.unk_token_id).sum(axis=1).tolist())
    return result


if __name__ == "__main__":
    run_command(main)
