"""The configuration's keys that data is read by, for the tests of everything that reads data."""

from pathlib import Path
from types import ModuleType

from cxr_jax.data.notes import Notes, say
from cxr_jax.data.records import Record, SourceConfig

SIDE = 16


def make_data(cache, **changes):
    """`data` of a configuration: a CSV's, unless told otherwise."""
    return {
        "dataset": "pairs",
        "path": "",
        "download": False,
        "csv": "",
        "columns": {},
        "root": "",
        "sentences": "",
        "placeholders": "refuse",
        "unreadable": "refuse",
        "split": "auto",
        "annotation": "",
        "section": "findings",
        "view": "all",
        "stored_size": SIDE,
        "stored_format": "png",
        "seed": 0,
        "cache": str(cache),
        "cache_local": "",
        "fingerprint_by": "mtime",
        "augment": False,
        "augment_text": (),
        "sampler": "shuffle",
        "one_view": False,
        "num_threads": 2,
        "num_studies": 10,
    } | {key: str(value) if isinstance(value, Path) else value for key, value in changes.items()}


def make_config(table, cache, batch_size=4, seed=0, **data):
    data = make_data(cache, csv=str(table), seed=seed, **data)
    loss = {"positives": "pair"}
    return {"seed": seed, "batch_size": batch_size, "image_size": SIDE, "data": data, "loss": loss}


def read(source, data):
    """The splits of a module of `cxr_jax.data.sources`, described and read as `prepare` does it."""
    config, notes = source.describe(data), Notes()
    records = source.records(data, notes)
    say(config.source, notes.all)
    return source.splits(data, records)


def toy_source(name, files_of):
    """A data set's module, made here: of the images that `files_of(folder)` gives, {split: files}."""

    def describe(data):
        size, form = data["stored_size"], data["stored_format"]
        return SourceConfig(name=f"toy-{size}-{form}", source=data["path"], stored_size=size, stored_format=form)

    def records(data, notes):
        return [
            Record(file.stem, file, f"s{file.stem}", f"p{file.stem}", "", f"Report {file.stem}.", split=split)
            for split, files in files_of(Path(data["path"])).items()
            for file in files
        ]

    def splits(data, records):
        return {split: [r for r in records if r.split == split] for split in ("train", "val", "test")}

    module = ModuleType(name)
    module.describe, module.records, module.splits = describe, records, splits
    return module
