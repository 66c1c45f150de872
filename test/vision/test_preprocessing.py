"""Protects the way from camera bytes to an encoder's pixels: sizes, what a crop keeps, normalisation, and what is not a frame."""

import dataclasses

import pytest
import torch

from wm_core.errors import VisionError
from wm_core.vision.preprocessing import checked


def test_another_size_is_refused_with_both_sizes_named(encoder):
    with pytest.raises(VisionError, match=r"got: 48x32; allowed: 32x32"):
        encoder(torch.zeros(1, 3, 48, 32, dtype=torch.uint8))


def test_crop_sees_the_centre_square_only(preprocessing):
    pixels = torch.zeros(1, 3, 64, 128)
    pixels[..., 32:96] = 200.0
    cropped = dataclasses.replace(preprocessing, fit="crop").sized(pixels)
    torch.testing.assert_close(cropped, torch.full((1, 3, 32, 32), 200.0), atol=1e-3, rtol=0)


def test_stretch_sees_the_whole_picture(preprocessing):
    pixels = torch.zeros(1, 3, 64, 128)
    pixels[..., 64:] = 200.0
    stretched = dataclasses.replace(preprocessing, fit="stretch").sized(pixels)
    assert stretched.shape == (1, 3, 32, 32)
    torch.testing.assert_close(stretched[..., 20:], torch.full((1, 3, 32, 12), 200.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(stretched[..., :12], torch.zeros(1, 3, 32, 12), atol=1e-3, rtol=0)


def test_normalised_pixels_have_the_declared_mean_and_spread(preprocessing):
    levels = 255.0 * torch.tensor([preprocessing.mean, [m + s for m, s in zip(preprocessing.mean, preprocessing.std, strict=True)]])
    normalised = preprocessing.normalised(levels[:, :, None, None])
    torch.testing.assert_close(normalised[:, :, 0, 0], torch.tensor([[0.0] * 3, [1.0] * 3]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(1, 3, 32, 32),
        *(torch.zeros(shape, dtype=torch.uint8) for shape in ((3, 32, 32), (1, 32, 32, 3), (1, 3, 0, 32))),
    ],
    ids=["float", "no batch", "channels last", "empty picture"],
)
def test_what_is_not_a_frame_is_refused(frames):
    with pytest.raises(VisionError, match=r"allowed: \(B, 3, H, W\) uint8"):
        checked(frames)
