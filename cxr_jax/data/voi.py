"""From a DICOM image's stored values to grey, as its header says: modality and VOI transformations, PS3.3 C.11.

What the header says is followed where it can be read and shows something; what is not followed is said. All is computed
on the picture's distinct values (`grey.Levels`), not on its pixels.
"""

import contextlib
import math
from typing import Any, NamedTuple

import numpy as np

from cxr_jax.data.grey import Levels, own_range, to_bytes
from cxr_jax.data.quiet import one_line

INSIDE = 0.05  # of the pixels: a window or table that holds fewer of them shows two greys at best
GREYS = 32  # of 256: between fewer, a window or table leaves nearly one grey
OWN = "the data's own range is shown"


class Shown(NamedTuple):
    """What a VOI LUT or window makes of each value.

    Attributes:
      name: begins the warning that it is left out.
      shares: of white, float64 (n,).
      inside: whether the value lies within it, bool (n,).
      notes: what is to be said where it is followed.
    """

    name: str
    shares: np.ndarray
    inside: np.ndarray
    notes: list[str]


def greys(dataset: Any, levels: Levels, bits: int, signed: bool, warnings: list[str]) -> np.ndarray:
    """The grey of each of a picture's stored values, uint8 (n,), before MONOCHROME1 and padding.

    The modality LUT or rescale (C.11.1), then the first VOI LUT or else the first window (C.11.2). Where neither is of
    use, the values' own range: of unsigned values of up to 8 bits the bits', of others `grey.own_range`.

    Args:
      levels: their `counts` are 0 for padding, which has no say.
      bits: that are stored a value.
      warnings: gets what is left out or guessed.
    """
    used = levels.counts > 0
    values, ascending, followed = _modality(dataset, levels, signed, warnings)
    own_warnings: list[str] = []
    if bits <= 8 and not signed and ascending:
        own = to_bytes(levels.values, 0.0, 2.0**bits - 1)
        own = own if ascending > 0 else 255 - own
    else:
        low, high, own_warnings = own_range(values, levels.counts)
        own = to_bytes(values, low, high)
    moved = Levels(values, levels.counts, levels.places)
    for step in (_voi_table, _window) if followed else ():
        shown = step(dataset, moved, signed, warnings)
        if shown is None:
            continue
        table = to_bytes(shown.shares, 0.0, 1.0)
        if not _useless(table, shown.inside, own, levels.counts):
            warnings += shown.notes
            return table
        if not np.array_equal(table[used], own[used]):
            warnings.append(f"{shown.name} leaves nearly one grey{f'; {OWN}' if step is _window else ''}")
    warnings += own_warnings
    return own


def _useless(table: np.ndarray, inside: np.ndarray, own: np.ndarray, counts: np.ndarray) -> bool:
    """Whether a VOI transformation leaves nearly one grey or two, where the own range shows more."""
    total, spread = counts.sum(), _spread(own, counts)
    if not spread:
        return False
    return bool(counts[inside].sum() < INSIDE * total or _spread(table, counts) < min(GREYS, spread))


def _spread(table: np.ndarray, counts: np.ndarray) -> int:
    """How many grey levels lie between the darkest and the brightest 1 % of the pixels."""
    cumulated = np.cumsum(np.bincount(table, counts, 256))
    dark, bright = np.searchsorted(cumulated, np.array([0.01, 0.99]) * cumulated[-1])
    return int(bright - dark)


def _modality(dataset: Any, levels: Levels, signed: bool, warnings: list[str]) -> tuple[np.ndarray, int, bool]:
    """(Rescaled values, 1 or -1 where they rise or fall with the stored ones on a line else 0, whether they are)."""
    before = len(warnings)
    table = _table(dataset, "ModalityLUTSequence", levels, signed, warnings)
    if table is not None:
        return table.entries[table.places_of(levels.values)], 0, True
    if len(warnings) > before:  # windows are in units that nobody knows
        return levels.values, 1, False
    slope, intercept = (
        number(dataset, name, default) for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope is None or intercept is None or not slope:
        said = " and ".join(_text(raw(dataset, name)) for name in ("RescaleSlope", "RescaleIntercept"))
        warnings.append(
            f"rescale left out: slope and intercept are {said}; a window, which needs them, is left out too"
        )
        return levels.values, 1, False
    rescaled = levels.values * slope + intercept
    if not np.isfinite(rescaled).all() or (np.ptp(levels.values) > 0 and np.ptp(rescaled) == 0):
        warnings.append(f"rescale left out: slope {slope:g} and intercept {intercept:g} leave nothing; windows too")
        return levels.values, 1, False
    return rescaled, 1 if slope > 0 else -1, True


class _Table(NamedTuple):
    """A lookup table: float64 entries, the value that the first stands for, the bits that its descriptor states."""

    entries: np.ndarray
    first: int
    bits: int
    notes: list[str]

    def places_of(self, values: np.ndarray) -> np.ndarray:
        """The entry of each value; the ends' beyond them."""
        return np.clip(np.floor(values - self.first), 0, len(self.entries) - 1).astype(np.intp)

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether a value has an entry of its own."""
        return (values >= self.first) & (values < self.first + len(self.entries))


def _voi_table(dataset: Any, levels: Levels, signed: bool, warnings: list[str]) -> Shown | None:
    """`values` through the first VOI LUT (C.11.2.1.1); None without one."""
    table = _table(dataset, "VOILUTSequence", levels, signed, warnings)
    if table is None:
        return None
    top, stated = float(table.entries.max()), 2.0**table.bits - 1 if 0 < table.bits <= 16 else 0.0
    notes = []
    if top > stated or 2 * top < stated:
        notes = [f"VOI LUT scaled: stated as of {table.bits} bits, its entries end at {top:g}; that is white"]
        stated = top
    shares = table.entries[table.places_of(levels.values)] / max(stated, 1)
    return Shown("VOI LUT left out: it", shares, table.holds(levels.values), table.notes + notes)


def _table(dataset: Any, sequence: str, levels: Levels, signed: bool, warnings: list[str]) -> _Table | None:
    """A sequence's first table (C.11.1.1, C.11.2.1.1); None without one, or where it cannot be read.

    Not by pydicom, whose tables are wrong or raise for files that exist: it counts into a VOI table of 8 bits with 8
    bits, so that value 300 takes entry 44. And it raises on packed tables of a byte an entry, on tables shorter than
    they say, and on modality tables of 12 bits.
    """
    name = "VOI LUT" if sequence == "VOILUTSequence" else "modality LUT"
    try:
        items = dataset.get(sequence)
        if not items or items[0].get("LUTDescriptor") is None or items[0].get("LUTData") is None:
            return None
        length, first, bits = (int(entry) for entry in items[0].LUTDescriptor)
        # The first and the third are unsigned whatever the second is, which makes some write all three as signed.
        length, bits = length % 2**16 or 2**16, bits % 2**16
        entries = _entries(items[0].LUTData, length, bits, dataset.original_encoding[1])
        if not len(entries):
            raise ValueError("no entries")
    except Exception as error:  # whatever pydicom makes of damaged elements
        warnings.append(f"{name} left out: it cannot be read ({one_line(error, 80)})")
        return None
    notes = [f"several VOI LUTs or windows: the first {name} of {len(items)} is used"] if len(items) > 1 else []
    return _Table(entries, _first(first, len(entries), levels, signed), bits, notes)


def _entries(data: Any, length: int, bits: int, little: bool) -> np.ndarray:
    """LUT Data as float64 (n,): of 16 bits each, or of 8, packed; `length` is what the descriptor states."""
    if isinstance(data, bytes):
        # As many bytes as entries are 8 bits each; any other number that is too small is of a wrong length.
        packed = len(data) in (length, length + 1) or (bits <= 8 and len(data) <= length + 1)
        entries = np.frombuffer(data[: len(data) // 2 * 2 if not packed else None], np.uint8 if packed else "<u2")
        entries = entries if packed or little else entries.byteswap()
    else:
        entries = np.atleast_1d(np.asarray(data, np.int64)) % 2**16
        if bits <= 8 and len(entries) == -(-length // 2) and length > 1:
            entries = entries.astype("<u2").view(np.uint8)
    # One more pads the data to an even length; many more are of a length that is stated wrong.
    return entries[: None if len(entries) > length + 1 else length].astype(np.float64)


def _first(first: int, length: int, levels: Levels, signed: bool) -> int:
    """The value that the first entry stands for, whose sign is often written wrong: where most pixels have entries."""
    other = first - 2**16 if first >= 2**15 else first + 2**16 if first < 0 else first
    choices = sorted({first, other}, key=lambda choice: (choice < 0) != signed)

    def held(choice: int) -> int:
        return int(levels.counts[(levels.values >= choice) & (levels.values < choice + length)].sum())

    return max(choices, key=held)


def _window(dataset: Any, levels: Levels, signed: bool, warnings: list[str]) -> Shown | None:
    """`values` through the first window (C.11.2.1.2-3); None without one, or where it is of no use."""
    import pydicom

    del signed
    given = [raw(dataset, name) for name in ("WindowCenter", "WindowWidth")]
    if all(value in (None, "", []) for value in given):
        return None
    said = f"centre {_text(given[0])}, width {_text(given[1])}"
    centre, width = (number(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    function = str(raw(dataset, "VOILUTFunction") or "LINEAR").strip().upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        warnings.append(f"VOI LUT function left out: {_text(function)} is not known; LINEAR is used")
        function = "LINEAR"
    if centre is None or width is None:
        warnings.append(f"window left out: {said} cannot be read; {OWN}")
        return None
    if width <= 0 or (function == "LINEAR" and width < 1):
        warnings.append(f"window left out: {said} is no window; {OWN}")
        return None
    said = f"centre {centre:g}, width {width:g}"
    count = len(given[0]) if isinstance(given[0], list) else 1
    notes = [f"several VOI LUTs or windows: the first window of {count} is used, {said}"] if count > 1 else []
    # pydicom raises on the windows left out above, and turns the grey scale round where the slope is negative. A header
    # of the window alone, of one bit, makes it give 0 to 1.
    window = pydicom.Dataset()
    window.PhotometricInterpretation, window.PixelRepresentation, window.BitsStored = "MONOCHROME2", 0, 1
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centre, width, function
    finite = np.nan_to_num(levels.values)
    reach = width if function == "SIGMOID" else width / 2
    inside = np.abs(finite - centre) <= reach
    with np.errstate(over="ignore"):
        return Shown(f"window left out: {said}", pydicom.pixels.apply_windowing(finite, window), inside, notes)


def raw(dataset: Any, name: str) -> Any:
    """An attribute's value, several as a list; where it cannot be read, what the file has; None where it is missing."""
    value: Any = None
    if name in dataset:
        try:
            value = dataset[name].value
        except Exception:  # pydicom's for each kind of nonsense; it keeps what it could not read
            with contextlib.suppress(Exception):
                value = dataset.get_item(name).value
                value = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str | bytes) else value


def number(dataset: Any, name: str, default: float | None = None) -> float | None:
    """An attribute's first value; `default` where it is missing or empty, None where it is no finite number."""
    value = raw(dataset, name)
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None or value == "":
        return default
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _text(value: Any) -> str:
    """A value as a warning shows it: short, whatever is in it."""
    values = value if isinstance(value, list) else [value]
    shown = "\\".join("missing" if v in (None, "") else f"{v:g}" if isinstance(v, float) else str(v) for v in values)
    return one_line(shown or "missing", 40)
