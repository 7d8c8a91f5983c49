"""Tables damaged at random, as tools and people damage them: records or one clear line, and nothing written elsewhere.

Each is named by a number, so a failure can be repeated. 150 in the default run, 2,000 in the slow one.
"""

import random

import pytest

from cxr_jax.data.sources import pairs
from cxr_jax.data.views import view_of
from cxr_jax.errors import InputError
from tests.data import settings
from tests.data.settings import make_data

QUICK, ALL = range(150), range(150, 2000)
HEADER = ["image", "report", "patient_id", "study_id", "view", "split", "labels"]
CELLS = {
    "image": ["../../etc/passwd", "/etc/passwd", "", ".", "..", "a\\b.png", "nan", "x" * 5000, "\0", "ü.png", "0.png"],
    "report": ["nan", "None", "N/A", "[]", ".", "", "FINDINGS: Clear. IMPRESSION: Fine.", "IMPRESSION:", '"', "a\nb",
               "\u2028\u0085", "1" * 200_000, ":" * 500, "FINDINGS: " * 99, "=1+1", "\ud7ff", "心影正常"],
    "patient_id": ["123", "123.0", "00123", " 1 23", "nan", "", "1E+5", "P1", "p1", "\u200b", "1" * 400, "-0.0", "٣"],
    "study_id": ["1", "1.0", "01", "S1", "s 1", "None", "", "../x", "inf"],
    "view": ["XTABLE LATERAL", "AP AXIAL", "LATERAL DECUB", "PA LLD", "LAO", "?", "nan", "A/P", "LLLLLL"],
    "split": ["train", "VAL", "Testing", "", "tset", "nan", "validate"],
    "labels": ["Edema, Effusion", "edema|Edema", "|", "|||nan|", "a;b", "x" * 300],
}  # fmt: skip
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "utf-7", "cp500", "shift_jis"]


def mutated(number: int) -> tuple[str, bytes, dict]:
    """(A file's name, its bytes, data's settings.)"""
    rng = random.Random(number)
    header, separator, end = list(HEADER), rng.choice([",", ",", ";", "\t", "|"]), rng.choice(["\n", "\r\n", "\r"])
    rows = [
        {"image": f"{i}.png", "report": f"Lungs clear {i}.", "patient_id": f"P{i // 2}", "study_id": f"S{i}",
         "view": "PA", "split": ["train", "val", "test"][i // 2 % 3], "labels": "Edema|Mass"}
        for i in range(12)
    ]  # fmt: skip
    for _ in range(rng.randrange(4)):
        column = rng.choice(HEADER)
        rng.choice(rows)[column] = rng.choice(CELLS[column])
    kept = [name for name in header if name in ("image", "report") or rng.random() < 0.7]
    shown = [rng.choice([name, name, name.upper(), f" {name} ", name.replace("_", " ")]) for name in kept]
    if rng.random() < 0.2:
        shown[rng.randrange(len(shown))] = rng.choice(["x", "image", ""])
    if rng.random() < 0.05:
        shown[rng.randrange(len(shown))] = shown[0]
    lines = [
        separator.join(quoted(rng, cell) for cell in cells) for cells in [shown, *([r[c] for c in kept] for r in rows)]
    ]
    match rng.randrange(16):
        case 0:
            lines[rng.randrange(len(lines))] += separator * rng.randrange(3) + rng.choice(["", "x", '"'])
        case 1:
            lines.insert(rng.randrange(len(lines)), rng.choice(["", separator, "sep=;", "#", "\ufeff"]))
        case 2:
            del lines[rng.randrange(len(lines)) :]
    content = end.join([*lines, ""]).encode(rng.choice(ENCODINGS) if rng.random() < 0.4 else "utf-8", "replace")
    data = bytearray(content)
    for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 2, 9]) if data else 0):
        place = rng.randrange(len(data))
        data[place : place + rng.randrange(3)] = bytes(rng.choices(range(256), k=rng.randrange(3)))
    chosen = {"placeholders": rng.choice(["refuse", "drop"]),
              "split": rng.choice(["auto", "patient", "patient", "column"]),
              "section": rng.choice(["findings", "impression", "both"]), "root": rng.choice(["", "/nowhere"]),
              "columns": rng.choice([{}] * 12 + [{"image": "x"}, {"report": "labels"}, {"x": "image"}])}  # fmt: skip
    return rng.choice(["t.csv"] * 20 + ["t.jsonl", "t.parquet"]), bytes(data), chosen


def quoted(rng: random.Random, cell: str) -> str:
    if rng.random() < 0.002:
        return f'"{cell}'
    return '"' + cell.replace('"', '""') + '"' if rng.random() < 0.5 or set(cell) & set(',;\t|\n"') else cell


def read_or_refuse(number: int, folder) -> bool:
    """Whether the table is read; a refusal is one line that names the file or the key."""
    name, content, chosen = mutated(number)
    folder.mkdir()
    file = folder / name
    file.write_bytes(content)
    try:
        splits = settings.read(pairs, make_data(folder / "cache", csv=file, **chosen))
    except InputError as error:
        message = str(error)
        assert "\n" not in message.strip()
        assert str(file) in message or "data." in message
        return False
    finally:
        assert [path.name for path in folder.iterdir()] == [name]
        assert file.read_bytes() == content
    home = {}
    for split, records in splits.items():
        for record in records:
            assert home.setdefault(record.patient_id.casefold(), split) == split
            assert record.findings or record.impression
            assert record.view in ("frontal", "lateral", "")
            assert record.view == "" or view_of(record.view)
            for text in (record.image_id, record.study_id, record.patient_id, record.findings, *record.labels):
                text.encode()
    return True


def run(numbers, folder) -> None:
    whole = sum(read_or_refuse(number, folder / str(number)) for number in numbers)
    assert 0.1 * len(numbers) < whole < 0.9 * len(numbers)


def test_150_damaged_tables(tmp_path):
    run(QUICK, tmp_path)


@pytest.mark.slow
def test_the_other_1850(tmp_path):
    run(ALL, tmp_path)
