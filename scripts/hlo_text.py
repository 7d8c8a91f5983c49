"""What the text of a program compiled by XLA says of it: what its devices send each other, what its memory carries."""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8}
TYPE = r"(?P<type>\((?:[^()]|\([^()]*\))*\)|\S+)"
COLLECTIVE = re.compile(
    rf"= {TYPE} (?P<op>all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?P<start>-start)?\("
)
ARRAY = re.compile(r"\b(?P<dtype>[a-z]\w*)\[(?P<shape>[\d,]*)\](?:\{(?P<layout>[^}]*)\})?")
INSTRUCTION = re.compile(rf"^\s+(?:ROOT )?(?P<name>%\S+) = {TYPE} (?P<op>[a-z][\w\-]*)\((?P<operands>[^)]*)")
COMPUTATION = re.compile(r"^(?:ENTRY )?(?P<name>%\S+) \(.*\{\n(?P<body>(?:.*\n)*?)\}", re.MULTILINE)
# Names of what is there already, and ends of what a -start began.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "custom-call"}


class Traffic(NamedTuple):
    """Bytes of an array as its layout pads it, and whether it lies in the device's own fast memory."""

    size: int
    on_chip: bool


def shape_of(text: str) -> tuple[int, ...]:
    """The sides of `64,78,78,32`."""
    return tuple(map(int, filter(None, text.split(","))))


def collectives(hlo: str) -> list[dict[str, Any]]:
    """The arrays that a compiled program's collectives yield, the largest first: op, dtype, shape, bytes, count.

    Args:
      hlo: the program's text. Several arrays in one collective are listed one by one, equal ones counted. The
        fusions beside which XLA:TPU lets one proceed name it again, and are left out.
    """
    counts: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    for match in COLLECTIVE.finditer(re.sub(r"^%async_collective_fusion.*?^}", "", hlo, flags=re.M | re.S)):
        arrays = [(array["dtype"], shape_of(array["shape"])) for array in ARRAY.finditer(match["type"])]
        if match["start"] and match["op"] != "all-reduce":  # (operands, results, …)
            arrays = arrays[len(arrays) // 2 :] if match["op"] != "collective-permute" else arrays[1:2]
        counts.update((match["op"], *array) for array in arrays)
    rows = [
        {"op": op, "dtype": dtype, "shape": list(shape), "bytes": ITEM_BYTES[dtype] * math.prod(shape), "count": count}
        for (op, dtype, shape), count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["op"], row["shape"]))


def memory_traffic(hlo: str, repeats: int = 1) -> int:
    """Bytes that a program compiled for a TPU reads from its memory and writes to it, padding of layouts included.

    What XLA:TPU placed in a core's own memory, S(1), is left out. Each instruction reads its operands and writes its
    result once; of an array that is updated in place, and of one that is cut, the part counts.

    Args:
      repeats: how often a loop's body runs.
    """
    computations = {match["name"]: match["body"] for match in COMPUTATION.finditer(hlo)}
    (entry,) = re.findall(r"^ENTRY (%\S+)", hlo, re.MULTILINE)
    return _traffic(computations, entry, repeats)


def _traffic(computations: dict[str, str], name: str, repeats: int) -> int:
    known: dict[str, list[Traffic]] = {}
    total = 0
    for line in computations[name].splitlines():
        if not (match := INSTRUCTION.match(line)):
            continue
        name, op = match["name"], match["op"]
        known[name] = results = [traffic_of(array) for array in ARRAY.finditer(match["type"])]
        if op == "while" and (body := re.search(r"body=(%[^\s,]+)", line)):
            total += repeats * _traffic(computations, body[1], repeats)
            continue
        if op in FREE or op.endswith("-done"):
            continue
        moved = [array for operand in re.findall(r"%[^\s,]+", match["operands"]) for array in known.get(operand, [])]
        if re.search("dynamic.update.slice", f"{op} {name}"):
            whole = max(array.size for array in [*results, *moved])
            parts = [array for array in moved if array.size < whole]
            moved, results = parts, [Traffic(array.size, results[0].on_chip) for array in parts[:1]]
        elif op in ("slice", "dynamic-slice"):
            moved = [Traffic(array.size, moved[0].on_chip) for array in results]
        elif op in ("copy-start", "slice-start"):
            moved, results = [], results[:2]
        total += sum(array.size for array in [*moved, *results] if not array.on_chip)
    return total


def traffic_of(array: re.Match[str]) -> Traffic:
    """Of one array of a type such as bf16[64,78,78,32]{3,0,2,1:T(8,128)(2,1)S(1)}: sides last to first, tile, place."""
    layout = array["layout"] or ""
    sides = list(shape_of(array["shape"]))
    order, tile = shape_of(layout.partition(":")[0]), re.search(r"T\(([\d,]+)\)", layout)
    for axis, multiple in zip(order, reversed(shape_of(tile[1])) if tile else (), strict=False):
        sides[axis] = -(-sides[axis] // multiple) * multiple
    return Traffic(ITEM_BYTES.get(array["dtype"], 0) * math.prod(sides), "S(1)" in layout)
