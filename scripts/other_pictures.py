"""Pictures that are no radiographs, drawn or cut from photographs that installed packages bring: no download.

python scripts/other_pictures.py --out FOLDER [--count 8]       writes some of each kind, to be looked at
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from cxr_jax.data import images
from cxr_jax.errors import ArgumentParser, run_command

Rng = np.random.Generator
LETTERS = list("abcdefghijklmnopqrstuvwxyz" + " " * 6)


def black(side: int, rng: Rng) -> np.ndarray:
    return np.zeros((side, side), np.uint8)


def white(side: int, rng: Rng) -> np.ndarray:
    return np.full((side, side), 255, np.uint8)


def noise(side: int, rng: Rng) -> np.ndarray:
    return rng.integers(0, 256, (side, side), dtype=np.uint8)


def pink_noise(side: int, rng: Rng) -> np.ndarray:
    """Of an amplitude that falls as 1/f, as that of natural images does (Field 1987)."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    return _stretched(np.real(np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / frequency)))


def dead_leaves(side: int, rng: Rng) -> np.ndarray:
    """Discs that hide one another, as things do in photographs (Lee, Mumford and Huang 2001)."""
    picture, (y, x) = np.full((side, side), 128, np.uint8), np.mgrid[:side, :side] / side
    for _ in range(200):
        radius, (left, top) = 0.03 / max(rng.uniform(), 0.06), rng.uniform(size=2)
        picture[(x - left) ** 2 + (y - top) ** 2 < radius**2] = rng.integers(0, 256)
    return picture


def gradient(side: int, rng: Rng) -> np.ndarray:
    """From one edge to the other, or about a point: bright or dark in the middle."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle, (left, top) = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5, 2)
    straight = np.cos(angle) * x + np.sin(angle) * y
    return _stretched(straight if rng.uniform() < 0.5 else rng.choice([-1, 1]) * np.hypot(x - left, y - top))


def text_page(side: int, rng: Rng) -> np.ndarray:
    """Lines of words, as of a scanned report."""
    page = Image.new("L", (256, 256), 255)
    pen = ImageDraw.Draw(page)
    for top in range(12, int(rng.integers(60, 240)), 14):
        pen.text((12, top), "".join(rng.choice(LETTERS, int(rng.integers(8, 36)))), fill=0)
    return np.asarray(page.resize((side, side), Image.Resampling.BILINEAR))


def checkerboard(side: int, rng: Rng) -> np.ndarray:
    field, (left, top) = int(rng.integers(2, side // 2)), rng.integers(0, side, 2)
    y, x = np.mgrid[:side, :side]
    return (255 * (((x + left) // field + (y + top) // field) % 2)).astype(np.uint8)


def photograph(side: int, rng: Rng) -> np.ndarray:
    """A square cut out of a portrait, a temple or a flower."""
    file = _photographs()[int(rng.integers(len(_photographs())))]
    picture = Image.open(file).convert("L")
    width = int(rng.integers(min(picture.size) // 4, min(picture.size) + 1))
    left, top = (int(rng.integers(0, length - width + 1)) for length in picture.size)
    return np.asarray(picture.crop((left, top, left + width, top + width)).resize((side, side)))


KINDS: dict[str, Callable[[int, Rng], np.ndarray]] = {
    make.__name__.replace("_", " "): make
    for make in (black, white, noise, pink_noise, dead_leaves, gradient, text_page, checkerboard, photograph)
}


def _photographs() -> list[Path]:
    found = [Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"]
    sklearn = importlib.util.find_spec("sklearn")  # the extra probe
    if sklearn is not None and sklearn.origin is not None:
        folder = Path(sklearn.origin).parent / "datasets" / "images"
        found += [folder / "china.jpg", folder / "flower.jpg"]
    return found


def _stretched(values: np.ndarray) -> np.ndarray:
    return np.round(255 * (values - values.min()) / (values.max() - values.min())).astype(np.uint8)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=8, help="of each kind (8)")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, make in KINDS.items():
        for number in range(arguments.count):
            file = arguments.out / f"{name.replace(' ', '_')}_{number}.png"
            file.write_bytes(images.encode_png(make(256, np.random.default_rng([0, number]))))


if __name__ == "__main__":
    run_command(main)
