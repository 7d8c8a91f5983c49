import numpy as np
import pytest

from cxr_jax.data.images import fit_square
from cxr_jax.retrieval.heat import enlarged, hidden, in_frame, spread


@pytest.mark.parametrize("side", [32, 96, 100])
def test_every_pixel_is_hidden_alike_and_by_mean_grey(side):
    square = np.random.default_rng(0).integers(0, 200, (side, side), dtype=np.uint8)
    square[0, 0] = 255
    before = square.copy()
    images, patches = hidden(square)
    np.testing.assert_array_equal(square, before)
    count = np.zeros((side, side), int)
    for image, place in zip(images, patches, strict=True):
        assert (image[place] == round(square.mean())).all()
        outside = image.copy()
        outside[place] = square[place]
        np.testing.assert_array_equal(outside, square)
        count[place] += 1
    assert count.min() > 0
    assert count.max() <= 1.8 * np.median(count)
    assert count[: side // 2].sum() == pytest.approx(count[side // 2 :].sum(), rel=0.12)


def test_a_drop_is_spread_to_where_it_came_from():
    """The encoder is one that sees a spot only: its map is highest there, whatever else is in the image."""
    square = np.zeros((96, 96), np.uint8)
    square[60:66, 20:26] = 255
    images, patches = hidden(square)
    seen = images[:, 60:66, 20:26].mean(axis=(1, 2))
    heat = spread(255 - seen, patches, 96)
    assert heat.shape == square.shape
    assert np.hypot(*(np.unravel_index(heat.argmax(), heat.shape) - np.array([63, 23]))) <= 6


def test_a_map_is_enlarged_about_its_cells():
    heat = enlarged(np.array([[0.0, 0.0], [0.0, 1.0]]), 16)
    assert heat.shape == (16, 16)
    assert heat[12:, 12:].min() == 1
    assert heat[:4, :4].max() == 0
    assert 0 < heat[8, 8] < 1


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (30, 30), (33, 250)])
def test_a_map_comes_back_to_the_image_s_frame(height, width):
    image = np.zeros((height, width), np.uint8)
    image[height // 2 :, : width // 2] = 255
    heat = in_frame(fit_square(image, 32).astype(np.float32), height, width)
    assert heat.shape == image.shape
    assert heat.dtype == np.float32
    assert np.abs(heat - image).mean() < 16
