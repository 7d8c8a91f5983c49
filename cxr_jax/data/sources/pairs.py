"""Images and reports from a CSV: columns image and report; optional patient_id, study_id, view, split, labels."""

import csv
from pathlib import Path

from cxr_jax.data.records import SPLITS, Record, RecordBuilder, SourceConfig, fingerprint, split_by_group
from cxr_jax.errors import InputError

LATERAL_VIEWS = frozenset({"l", "lateral", "ll", "lat", "left lateral", "right lateral"})
FRONTAL_VIEWS = frozenset({"pa", "ap", "frontal", "ap supine", "ap erect", "ap semi erect"})
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}


class Pairs(RecordBuilder):
    """One record a row. Without a split column, patients are dealt 7:2:1; no patient is in two splits."""

    def records(self) -> dict[str, list[Record]]:
        """Reads the CSV anew.

        Raises:
          InputError: an empty cell that may not be, an unknown split, or a patient in two splits; it names the row.
        """
        file = Path(self.builder_config.source)
        rows = read_rows(file)
        records = [_record(row, number, file) for number, row in rows.items()]
        if self.builder_config.split == "column":
            assigned = [_named_split(row, number, file) for number, row in rows.items()]
        else:
            split_of = split_by_group((r.patient_id for r in records), self.builder_config.seed)
            assigned = [split_of[r.patient_id] for r in records]
        splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
        home: dict[str, str] = {}
        for number, record, split in zip(rows, records, assigned, strict=True):
            if home.setdefault(record.patient_id, split) != split:
                raise InputError(
                    f"{file} row {number}: patient {record.patient_id} is in {split} and in "
                    f"{home[record.patient_id]}; keep a patient in one split, or set data.split=patient"
                )
            splits[split].append(record)
        return splits


def config_for(path: str | Path, split: str, seed: int, stored_size: int, stored_format: str = "png") -> SourceConfig:
    """The builder's configuration for a CSV.

    Raises:
      InputError: the file is missing or lacks a column.
    """
    file = Path(path).expanduser()
    if not path or not file.is_file():
        raise InputError(f"data.csv = {path!r}: no such file; give a CSV with the columns image and report")
    rows = read_rows(file)
    has_split = "split" in next(iter(rows.values()))
    if split == "column" and not has_split:
        raise InputError(f"{file}: has no column split; add it, or set data.split=patient")
    if split in ("paper", "r2gen", "strict"):
        raise InputError(f"data.split = {split}: is of the Open-i release; for a CSV use auto, column or patient")
    split = "column" if split == "column" or (split == "auto" and has_split) else "patient"
    images = [file.parent / row["image"] for row in rows.values()]
    settings = split, seed if split == "patient" else 0, stored_size, stored_format
    name = fingerprint("pairs", *settings, file.read_bytes(), files=images)
    return SourceConfig(
        name=name,
        description=f"pairs ({file.name})",
        source=str(file),
        split=split,
        seed=seed,
        stored_size=stored_size,
        stored_format=stored_format,
    )


def read_rows(file: Path) -> dict[int, dict[str, str]]:
    """The CSV's rows by column name, stripped, under the numbers that a spreadsheet gives them: the header is row 1.

    Raises:
      InputError: it is not UTF-8 text, has no rows, lacks the column image or report, or a row has too many cells.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            # Strict: a quote that is never closed would swallow the rest of the file as one report.
            table = [[cell.strip() for cell in line] for line in csv.reader(handle, strict=True)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: not a CSV in UTF-8 ({error}); save it as one") from error
    columns = table[0] if table else []
    for name in ("image", "report"):
        if name not in columns:
            raise InputError(
                f"{file}: has no column {name}, only {', '.join(columns) or 'an empty line'}; add or rename it"
            )
    rows = {}
    for number, cells in enumerate(table[1:], start=2):
        if any(cells[len(columns) :]):
            raise InputError(
                f"{file} row {number}: has {len(cells)} cells for {len(columns)} columns; put a report that holds "
                "commas in double quotes"
            )
        if any(cells):
            rows[number] = dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False))
    if not rows:
        raise InputError(f"{file}: has no rows; add one a pair of image and report")
    return rows


def _record(row: dict[str, str], number: int, file: Path) -> Record:
    for name in ("image", "report"):
        if not row[name]:
            raise InputError(f"{file} row {number}: {name} is empty; fill it in or leave the row out")
    image_id = f"{number - 2:07d}:{row['image']}"  # an image may stand in several rows
    # With its folders: many collections have a view1_frontal.jpg in every study's.
    study = row.get("study_id") or str(Path(row["image"]).with_suffix(""))
    view = row.get("view", "").lower()
    return Record(
        image_id=image_id,
        image=file.parent / row["image"],
        study_id=study,
        # Where nothing says who the patient is, each study is taken as a patient of its own.
        patient_id=row.get("patient_id") or f"study:{study}",
        view="lateral" if view in LATERAL_VIEWS else "frontal" if view in FRONTAL_VIEWS else "",
        findings=row["report"],
        labels=tuple(label.strip() for label in row.get("labels", "").split("|") if label.strip()),
    )


def _named_split(row: dict[str, str], number: int, file: Path) -> str:
    name = row["split"].lower()
    split = SPLIT_NAMES.get(name, name)
    if split not in SPLITS:
        raise InputError(f"{file} row {number}: split is {row['split']!r}; it is one of train, val, test")
    return split
