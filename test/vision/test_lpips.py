"""Protects the LPIPS term of decoders: a distance that is zero for the same picture, and only from a file that holds all its weights."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from wm_core.errors import VisionError
from wm_core.training.decoder import decoder_loss, train_decoder
from wm_core.training.decoder_config import DecoderTraining
from wm_core.vision.decoder import Decoder, DecoderNetwork
from wm_core.vision.lpips import Lpips, load_lpips

CPU = torch.device("cpu")
CONFIG = DecoderTraining(DecoderNetwork("light", 8, 8, 1, 1), 0.0, 0.0, seed=0, steps=1, batch=2, learning_rate=1e-3)


def published(network, package):
    """The weights as the lpips package names them, with what else it keeps; or as torchvision does, with a classifier."""
    slices = {0: 1, 2: 1, 5: 2, 7: 2, 10: 3, 12: 3, 14: 3, 17: 4, 19: 4, 21: 4, 24: 5, 26: 5, 28: 5}
    named = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)} if package else {"classifier.0.weight": torch.zeros(2, 2)}
    for name, tensor in network.state_dict().items():
        kind, place, last = name.split(".")
        if kind == "lin":
            named[f"lin{place}.model.1.{last}" if package else f"lin{place}.{last}"] = tensor
            named |= {f"lins.{place}.model.1.{last}": tensor.clone()} if package and place != "4" else {}
        else:
            named[f"net.slice{slices[int(place)]}.{place}.{last}" if package else name] = tensor
    return named


@pytest.fixture(scope="module")
def random():
    torch.manual_seed(0)
    network = Lpips()
    for lin in network.lin:
        torch.nn.init.uniform_(lin.weight)
    return network


@pytest.fixture(params=[True, False], ids=["lpips", "torchvision"])
def file(request, random, tmp_path):
    save_file(published(random, request.param), tmp_path / "lpips.safetensors")
    return tmp_path / "lpips.safetensors"


def test_it_is_a_distance_between_pictures(file, random):
    lpips = load_lpips(file, CPU)
    one, other = torch.rand(2, 2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(lpips(one, one), torch.zeros(2))
        assert (lpips(one, other) > 0.0).all()
        torch.testing.assert_close(lpips(one, other), lpips(other, one))
        torch.testing.assert_close(lpips(one, other), random(one, other))
        assert (lpips(one, 0.9 * one + 0.1 * other) < lpips(one, other)).all()


def test_it_is_part_of_the_decoders_loss_and_its_weights_stay_as_they_are(random, encoder, frames):
    decoder = Decoder(CONFIG.network, encoder.grid, encoder.dim, encoder.weight_hash)
    plain, more = (
        decoder_loss(CONFIG, decoder, encoder, frames, torch.Generator(), lpips) for lpips in (None, random.requires_grad_(False))
    )
    wanted = random(decoder.average.expand(3, -1, -1, -1), frames / 255.0).mean()
    torch.testing.assert_close(more - plain, CONFIG.lpips_strength * wanted)
    more.backward()
    assert all(parameter.grad is None for parameter in random.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in decoder.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("missing", ["net.slice3.12.bias", "lin4.model.1.weight"])
def test_a_file_that_lacks_weights_is_refused_with_their_name(random, encoder, squares, tmp_path, missing):
    weights = published(random, package=True)
    del weights[missing]
    save_file(weights, tmp_path / "lpips.safetensors")
    named = {"net.slice3.12.bias": r"features\.12\.bias", "lin4.model.1.weight": r"lin\.4\.weight"}[missing]
    with pytest.raises(VisionError, match=rf"lpips\.safetensors does not hold the weights of this network; got: missing: {named}"):
        train_decoder(dataclasses.replace(CONFIG, lpips_weights=str(tmp_path / "lpips.safetensors")), encoder, squares[0])


def test_pictures_that_cannot_be_halved_often_enough_are_refused(random):
    with pytest.raises(VisionError, match=r"halves pictures four times; got: \(8, 8\); allowed: 16 pixels or more"):
        random(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))


def test_a_file_that_is_not_there_is_refused(encoder, squares, tmp_path):
    with pytest.raises(VisionError, match="the weights file does not exist"):
        train_decoder(dataclasses.replace(CONFIG, lpips_weights=str(tmp_path / "none.safetensors")), encoder, squares[0])
