"""Protects the training of embedded encoders: each recipe learns, repeats itself, goes on exactly after a kill, its teacher apart."""

import dataclasses

import numpy as np
import pytest
import torch

from wm_core.errors import ConfigurationError, VisionError
from wm_core.training.embedded_encoder import STATE, build_recipe, learning_rate, train_encoder
from wm_core.training.encoder_config import ConvolutionalTraining, DistilledTraining, MaskedTraining, Narrowing, read_training
from wm_core.training.recipe import RAREST, Reconstruction, coarse_colours, frame_statistics
from wm_core.vision.embedded import MomentNetwork, VitNetwork, load_embedded
from wm_core.vision.linear_probe import fit_probe

CPU = torch.device("cpu")
COMMON = {"seed": 1, "steps": 6, "batch": 8, "learning_rate": 3e-3, "weight_decay": 0.01, "warmup_steps": 2, "checkpoint_every": 3}
VIT = VitNetwork(8, 16, 1, 2)
DISTILLED = {"prototypes": 32, "masked_share": 0.4, "jitter": 0.2, "teacher_momentum": 0.9}
CONFIGS = {
    "convolutional": ConvolutionalTraining(
        "convolutional",
        **COMMON,
        network=MomentNetwork(width=8, stride=2, maps=8, cell=8, dim=8),
        decoder_width=32,
        narrowing=Narrowing(0.3, 0.001, 0.1),
        rarity=0.5,
    ),
    "masked": MaskedTraining(
        "masked", **COMMON, network=VIT, masked_share=0.5, visible_weight=1.0, decoder_dim=16, decoder_depth=1, rarity=0.5
    ),
    "distilled": DistilledTraining("distilled", **COMMON, network=VIT, **DISTILLED, teacher_temperature=0.05, student_temperature=0.1),
}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def test_a_kill_changes_nothing(config, squares, tmp_path):
    whole = train_encoder(config, squares[0], CPU)

    def killed(step, loss):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(config, squares[0], CPU, tmp_path, killed)
    steps = []
    resumed = train_encoder(config, squares[0], CPU, tmp_path, lambda step, loss: steps.append(step))
    assert steps == [3, 4, 5]
    assert resumed.weight_hash == whole.weight_hash == load_embedded(tmp_path, CPU).weight_hash


def test_another_seed_gives_other_weights(config, squares):
    hashes = {train_encoder(dataclasses.replace(config, seed=seed, steps=1), squares[0], CPU).weight_hash for seed in (1, 2)}
    assert len(hashes) == 2


@pytest.mark.parametrize("name", ["convolutional", "masked"])
def test_reconstruction_improves(name, squares):
    losses = []
    train_encoder(dataclasses.replace(CONFIGS[name], steps=60), squares[0], CPU, report=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_a_student_learns_to_say_what_a_still_teacher_says(squares):
    recipe = build_recipe(dataclasses.replace(CONFIGS["distilled"], teacher_momentum=1.0), 32, frame_statistics(squares[0]))
    frames, generator = torch.from_numpy(squares[0][:, 0]).permute(0, 3, 1, 2), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam([parameter for parameter in recipe.parameters() if parameter.requires_grad], lr=3e-3)
    losses = []
    for step in range(90):
        loss = recipe.loss(frames, generator)
        losses.append(loss.item())
        if step >= 30:  # until then the teacher's centres settle
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[20:30])


def test_reconstruction_teaches_where_the_square_is(squares):
    """Held-out error of a linear probe, pixels: half of the untrained network's."""
    frames, places = squares
    errors = []
    for steps in (1, 250):
        config = dataclasses.replace(CONFIGS["convolutional"], steps=steps, batch=16, learning_rate=5e-3)
        encoder = train_encoder(config, frames, CPU)
        tokens = encoder(torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2)).patches
        targets, episodes = torch.from_numpy(places).flatten(0, 1), torch.arange(24).repeat_interleave(8)
        fitted = fit_probe(tokens[:144], targets[:144], episodes[:144])
        errors.append(float((fitted(tokens[144:]) - targets[144:]).norm(dim=-1).median()))
    assert errors[1] < 0.6 * errors[0], errors


def test_the_state_of_another_training_is_refused(squares, tmp_path):
    config = CONFIGS["convolutional"]
    train_encoder(config, squares[0], CPU, tmp_path)
    for other, frames in ((dataclasses.replace(config, batch=9), squares[0]), (config, squares[0][1:])):
        with pytest.raises(VisionError, match="state of another training"):
            train_encoder(other, frames, CPU, tmp_path)
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:500])
    with pytest.raises(VisionError, match="truncated"):
        train_encoder(config, squares[0], CPU, tmp_path)


def test_the_teacher_gets_no_gradient_and_follows_by_its_momentum(squares):
    recipe = build_recipe(CONFIGS["distilled"], 32, frame_statistics(squares[0]))
    frames = torch.from_numpy(squares[0][:, 0]).permute(0, 3, 1, 2)
    recipe.loss(frames, torch.Generator().manual_seed(0)).backward()
    assert all(parameter.grad is None for parameter in [*recipe.backbone.parameters(), *recipe.teacher_heads.parameters()])
    assert any(parameter.grad.abs().sum() > 0 for parameter in recipe.student.blocks.parameters())
    with torch.no_grad():
        recipe.student.norm.bias += 1.0
    recipe.after_step(0.0)
    torch.testing.assert_close(recipe.backbone.norm.bias, torch.full((16,), 0.1))
    recipe.after_step(1.0)
    torch.testing.assert_close(recipe.backbone.norm.bias, torch.full((16,), 0.1))


def test_the_masked_encoder_does_not_see_what_is_masked(squares):
    """With nothing asked of visible patches, the pixels of masked ones act on the loss only as its target."""
    config = dataclasses.replace(CONFIGS["masked"], masked_share=0.9, visible_weight=0.0)
    recipe = build_recipe(config, 32, frame_statistics(squares[0]))
    seen = []
    recipe.backbone.blocks.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    recipe.loss(torch.from_numpy(squares[0][:, 0]).permute(0, 3, 1, 2), torch.Generator().manual_seed(0))
    assert seen == [torch.Size([24, 1 + 2, 16])]


def test_pixels_of_rare_colours_weigh_more_by_the_power_of_their_share(squares):
    frames = torch.from_numpy(squares[0]).flatten(0, 1).permute(0, 3, 1, 2)
    statistics, (row, column) = frame_statistics(squares[0]), squares[1][0, 0].astype(int)
    of_square = float((frames == frames[0, :, row, column, None, None]).all(dim=1).float().mean())
    for rarity in (0.0, 0.5, 1.0):
        _, weights = Reconstruction(statistics, rarity).target(frames)
        assert float(weights.mean()) == pytest.approx(1.0, rel=1e-4)
        coarse = statistics.colours[coarse_colours(frames)]
        expected = ((coarse[0, 0, 0] + RAREST) / (coarse[0, row, column] + RAREST)) ** rarity
        assert float(weights[0, 0, row, column] / weights[0, 0, 0, 0]) == pytest.approx(float(expected), rel=1e-4)
    assert float(coarse[0, row, column]) == pytest.approx(of_square, abs=1e-6)


@pytest.mark.parametrize("frames", [np.zeros((1, 2, 32, 32, 3)), np.zeros((2, 32, 32, 3), np.uint8), np.zeros((1, 2, 32, 24, 3), np.uint8)])
def test_what_is_not_a_set_of_square_frames_is_refused(frames):
    with pytest.raises(VisionError, match=r"not training frames|not square"):
        train_encoder(CONFIGS["masked"], frames, CPU)


def test_a_diverged_training_stops_and_names_the_step(squares):
    config = dataclasses.replace(CONFIGS["convolutional"], learning_rate=float("inf"))
    with pytest.raises(VisionError, match=r"not finite; got: nan at step 1; mend: lower learning_rate"):
        train_encoder(config, squares[0], CPU)


def test_the_rate_rises_then_falls_to_nothing():
    config = dataclasses.replace(CONFIGS["masked"], steps=100, warmup_steps=10)
    rates = [learning_rate(config, step) for step in range(100)]
    assert np.argmax(rates) == 9
    assert rates[0] == pytest.approx(config.learning_rate / 10)
    assert all(np.diff(rates[9:]) < 0)
    assert rates[-1] < 0.001 * config.learning_rate


def test_an_unknown_recipe_names_the_nearest(tmp_path):
    (tmp_path / "encoder.yaml").write_text("recipe: convolution\n")
    with pytest.raises(ConfigurationError, match="nearest: convolutional"):
        read_training(tmp_path / "encoder.yaml")
