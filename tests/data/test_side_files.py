from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cxr_jax.data import side_files
from cxr_jax.data.encoders import Encoded
from cxr_jax.data.records import Record
from cxr_jax.errors import InputError


def part_of(folder, split, numbers):
    """A folder with the rows and thumbnails of images of these numbers."""
    folder.mkdir()
    rows, thumbnails = [], b""
    for position, number in enumerate(numbers):
        encoded = Encoded(b"image", b"%d" % number * (number + 1), 10 + number, 20, ("a kind: of what",) * (number % 2))
        record = Record(f"i{number}", Path("x.png"), f"s{number}", "p", "", f"Report {number}.", labels=("a", "b"))
        rows.append(side_files.row(split, position, record, encoded, len(thumbnails)))
        thumbnails += encoded.thumbnail
    side_files.write_rows(folder / side_files.ROWS, rows)
    (folder / side_files.THUMBNAILS).write_bytes(thumbnails)
    return folder


@pytest.fixture
def joined(tmp_path):
    parts = [
        part_of(tmp_path / "1", "train", [0, 1, 2]),
        part_of(tmp_path / "2", "train", [3, 4]),
        part_of(tmp_path / "3", "val", [5]),
    ]
    (tmp_path / "joined").mkdir()
    side_files.join(parts, tmp_path / "joined")
    return tmp_path / "joined"


def test_positions_count_through_a_split_and_thumbnails_through_the_file(joined):
    table = side_files.read_rows(joined)
    assert table.schema.equals(side_files.SCHEMA)
    assert table["position"].to_pylist() == [0, 1, 2, 3, 4, 0]
    assert table["image_id"].to_pylist() == [f"i{number}" for number in range(6)]
    assert table["labels"].to_pylist() == [["a", "b"]] * 6
    assert table["warnings"].to_pylist() == [[], ["a kind: of what"]] * 3
    assert table["height"].to_pylist() == list(range(10, 16))
    columns = [table[name].to_numpy() for name in ("thumbnail_start", "thumbnail_size")]
    thumbnails = side_files.Thumbnails(joined, np.arange(6), *columns)
    assert list(thumbnails) == [b"%d" % number * (number + 1) for number in range(6)]


def test_thumbnails_are_found_by_position_in_whatever_order_their_rows_come(joined):
    table = side_files.read_rows(joined).slice(0, 3)
    starts, sizes = (table[name].to_numpy() for name in ("thumbnail_start", "thumbnail_size"))
    thumbnails = side_files.Thumbnails(joined, np.array([2, 0, 1]), starts, sizes)
    assert thumbnails[:] == [b"11", b"222", b"0"]


def test_warnings_are_counted_by_kind_once_an_image(joined):
    table = side_files.read_rows(joined)
    assert side_files.warning_summary(table.slice(0, 1)) == ""
    said = [["window left out: a", "flat picture: b"], [], ["window left out: c", "window left out: d"], [], [], []]
    table = table.set_column(table.schema.get_field_index("warnings"), "warnings", pa.array(said))
    assert side_files.warning_summary(table) == (
        "2 of 6 images were read with a warning (window left out 2, flat picture 1); python -m cxr_jax.audit lists them"
    )


def test_a_damaged_table_is_named(joined):
    (joined / side_files.ROWS).write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"rows\.parquet: cannot be read \(.*prepare it again"):
        side_files.read_rows(joined)
