"""Protects the decoders for looking: pictures come back in place, the encoder stays as it was, tokens of another encoder are refused."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.errors import VisionError
from wm_core.training.decoder import decoder_loss, train_decoder
from wm_core.training.decoder_config import DecoderTraining
from wm_core.vision.decoder import WEIGHTS, Decoder, DecoderNetwork, cut, joined, load_decoder, save_decoder, twos_and_threes
from wm_core.vision.encoder import FrozenEncoder

CPU = torch.device("cpu")
KINDS = {"light": DecoderNetwork("light", 8, 32, 1, 2), "vit": DecoderNetwork("vit", 8, 32, 1, 2)}


@pytest.fixture(params=KINDS)
def config(request):
    return DecoderTraining(
        network=KINDS[request.param], perceptual_weight=0.01, latent_noise=0.05, seed=0, steps=150, batch=8, learning_rate=3e-3
    )


@settings(max_examples=20)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), patch=st.integers(1, 6))
def test_cutting_and_joining_undo_each_other(rows, columns, patch):
    pictures = torch.rand(2, 3, rows * patch, columns * patch)
    cells = cut(pictures, patch)
    torch.testing.assert_close(joined(cells, (rows, columns), patch), pictures)
    last = pictures[:, :, -patch:, -patch:]
    torch.testing.assert_close(cells[:, -1].reshape(2, 3, patch, patch), last)


def test_training_shows_the_square_and_leaves_the_encoder_alone(config, encoder, squares):
    before = encoder.weight_hash
    frames = squares[0]
    decoder = train_decoder(config, encoder, frames)
    pictures = torch.from_numpy(frames[:, 0]).permute(0, 3, 1, 2)
    shown = decoder.pictures(encoder(pictures).patches)
    assert shown.dtype == torch.uint8
    assert shown.shape == pictures.shape
    mean = torch.from_numpy(frames).flatten(0, 1).float().mean(dim=0).permute(2, 0, 1)
    error, of_mean = (shown.float() - pictures).square().mean(), (pictures - mean).square().mean()
    assert error < 0.8 * of_mean
    again = FrozenEncoder(encoder.name, copy.deepcopy(encoder.backbone), encoder.preprocessing, CPU)
    assert again.weight_hash == before
    assert all(parameter.grad is None for parameter in encoder.backbone.parameters())


def test_the_perceptual_term_is_the_distance_between_tokens(config, encoder, squares):
    frames = torch.from_numpy(squares[0][:4, 0]).permute(0, 3, 1, 2)
    decoder = Decoder(config.network, encoder.grid, encoder.dim, encoder.weight_hash)
    decoder.average.uniform_()
    quiet = dataclasses.replace(config, latent_noise=0.0)
    losses = [
        decoder_loss(dataclasses.replace(quiet, perceptual_weight=weight), decoder, encoder, frames, torch.Generator())
        for weight in (0.0, 2.0)
    ]
    with torch.no_grad():
        rebuilt = decoder(encoder(frames).patches)
        distance = (encoder.encode_pixels(255.0 * rebuilt).patches - encoder(frames).patches).square().mean()
    torch.testing.assert_close(losses[0], (rebuilt - frames / 255.0).square().mean())
    torch.testing.assert_close(losses[1] - losses[0], 2.0 * distance)


def test_a_decoder_comes_back_from_disk_only_for_its_own_encoder(config, encoder, preprocessing, network, frames, tmp_path):
    decoder = Decoder(config.network, encoder.grid, encoder.dim, encoder.weight_hash)
    for tensor in decoder.state_dict().values():
        tensor.normal_()
    save_decoder(tmp_path, decoder)
    patches = encoder(frames).patches
    assert torch.equal(load_decoder(tmp_path, encoder, CPU).pictures(patches), decoder.pictures(patches))
    other = FrozenEncoder("other", network.build(32), preprocessing, CPU)
    with pytest.raises(VisionError, match="was made with another encoder; got: other"):
        load_decoder(tmp_path, other, CPU)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-5])
    with pytest.raises(VisionError, match="truncated"):
        load_decoder(tmp_path, encoder, CPU)


def test_leading_dimensions_pass_through_and_other_grids_are_refused(config, encoder):
    decoder = Decoder(config.network, encoder.grid, encoder.dim, encoder.weight_hash)
    patches = encoder.grid[0] * encoder.grid[1]
    assert decoder.pictures(torch.zeros(2, 5, patches, encoder.dim)).shape == (2, 5, 3, 32, 32)
    with pytest.raises(VisionError, match="not of this decoder's grid"):
        decoder.pictures(torch.zeros(2, patches + 1, encoder.dim))


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(0, 3), st.integers(1, 3))
def test_the_light_decoder_fills_any_cell_of_twos_and_threes(twos, threes, rows):
    cell = 2**twos * 3**threes
    assert sorted(twos_and_threes(cell)) == [2] * twos + [3] * threes
    assert twos_and_threes(5 * cell) == ()
    if cell <= 54:
        decoder = Decoder(DecoderNetwork("light", cell, 16, 1, 1), (rows, 2), 4, "0" * 64)
        assert decoder(torch.zeros(1, 2 * rows, 4)).shape == (1, 3, rows * cell, 2 * cell)


@pytest.mark.parametrize("network", [DecoderNetwork("light", 14, 32, 1, 2), DecoderNetwork("vit", 14, 30, 1, 4)])
def test_a_shape_that_does_not_divide_is_refused(network):
    with pytest.raises(VisionError, match=r"mend: network\.(cell|width)"):
        Decoder(network, (4, 4), 8, "0" * 64)
