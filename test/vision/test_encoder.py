"""Protects what "frozen" means: same tokens for the same hash, another hash for anything that changes tokens, no gradient to weights."""

import copy
import dataclasses

import pytest
import torch

from wm_core.errors import VisionError
from wm_core.vision.encoder import FrozenEncoder, require_same

CPU = torch.device("cpu")


def test_tokens_have_the_declared_grid_and_depend_on_no_other_picture_of_the_batch(encoder, frames):
    tokens = encoder(frames)
    assert tokens.patches.shape == (3, encoder.grid[0] * encoder.grid[1], encoder.dim)
    assert tokens.cls.shape == (3, encoder.dim)
    torch.testing.assert_close(encoder(frames[1:2]).patches, tokens.patches[1:2], atol=1e-5, rtol=1e-5)


def test_tokens_stand_row_by_row(encoder):
    """A change in the upper right corner moves the last token of the first row more than any other."""
    plain = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)
    marked = plain.clone()
    marked[..., :6, -6:] = 255
    moved = (encoder(marked).patches - encoder(plain).patches).norm(dim=-1)[0]
    assert int(moved.argmax()) == encoder.grid[1] - 1


def test_no_gradient_reaches_the_weights_but_one_reaches_the_pixels(encoder, frames):
    assert not encoder(frames).patches.requires_grad
    pixels = frames.float().requires_grad_()
    encoder.encode_pixels(pixels).patches.square().sum().backward()
    assert pixels.grad.abs().sum() > 0
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in encoder.backbone.parameters())
    assert not encoder.backbone.training


def test_the_hash_is_that_of_name_weights_and_preprocessing(network, preprocessing):
    backbone = network.build(32)
    same = FrozenEncoder("tiny", copy.deepcopy(backbone), preprocessing, CPU)
    changed = copy.deepcopy(backbone)
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-3
    others = [
        FrozenEncoder("other", copy.deepcopy(backbone), preprocessing, CPU),
        FrozenEncoder("tiny", changed, preprocessing, CPU),
        FrozenEncoder("tiny", copy.deepcopy(backbone), dataclasses.replace(preprocessing, mean=(0.41, 0.5, 0.6)), CPU),
        FrozenEncoder("tiny", copy.deepcopy(backbone), dataclasses.replace(preprocessing, fit="crop"), CPU),
    ]
    assert FrozenEncoder("tiny", backbone, preprocessing, CPU).weight_hash == same.weight_hash
    assert len({same.weight_hash, *(other.weight_hash for other in others)}) == 5


def test_half_precision_keeps_the_hash_and_nearly_the_tokens(network, preprocessing, frames):
    backbone = network.build(32)
    full = FrozenEncoder("tiny", copy.deepcopy(backbone), preprocessing, CPU)
    half = FrozenEncoder("tiny", backbone, preprocessing, CPU, torch.bfloat16)
    assert half.weight_hash == full.weight_hash
    assert half(frames).patches.dtype == torch.float32
    difference = (half(frames).patches - full(frames).patches).norm() / full(frames).patches.norm()
    assert 0 < difference < 0.05


def test_another_encoder_than_the_one_wanted_is_refused_by_name_and_hash(encoder):
    require_same(encoder, encoder.weight_hash, "the checkpoint")
    with pytest.raises(VisionError, match=f"the checkpoint was made with another encoder; got: tiny {encoder.weight_hash[:12]}"):
        require_same(encoder, "0" * 64, "the checkpoint")
