"""Audits a data set before anything is trained on it: what its splits hold, and what leaks between them.

    python -m cxr_jax.audit --config configs/base.py --out audit [--config.data.path=DIR --config.data.split=r2gen …]

Counted over studies, as retrieval is: a study's report stands once, however many images it has. The set is prepared as
training would prepare it, so an image that cannot be read ends the audit with a line that names it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cxr_jax import config as configuration
from cxr_jax.data import pipeline
from cxr_jax.errors import ArgumentParser, run_command
from cxr_jax.evaluation.audit import audit, audit_tables
from cxr_jax.evaluation.tables import format_table
from cxr_jax.files import write_json
from cxr_jax.pages.page import write_tables


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog="python -m cxr_jax.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="a configuration file, see configs/")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="folder for audit.json and index.html")
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    config = configuration.load(arguments.config, configuration.overrides(rest))
    splits, source = pipeline.load_splits(config)
    result = audit(splits, source.notes)
    title = f"{source.description}, section {config['data']['section']}, {config['data']['view']} views"
    shown = {name: table for name, table in audit_tables(result).items() if table.rows}
    for name, table in shown.items():
        print(f"\n{name}\n{format_table(*table)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "audit.json", {"dataset": source.description, "fingerprint": source.name, **result})
    write_tables(arguments.out / "index.html", title, shown)
    print(f"\npage: {arguments.out / 'index.html'}")


if __name__ == "__main__":
    run_command(main)
