"""Protects imagining by onnxruntime: the frames are torch's, however many processes share the samples and whichever of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import awake, small_config
from torch import Tensor

from wm_core.errors import CheckpointError, WorldModelError
from wm_core.world_model import byte_ranges
from wm_core.world_model.checkpoint import Checkpoint, Provenance, save
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.engine import Feed, Graphs, OnnxEngine, measured_ranges
from wm_core.world_model.engine_config import EngineConfig
from wm_core.world_model.engine_workers import SplitEngine
from wm_core.world_model.imagination_graph import Shape
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.reckoning import Reckoning
from wm_core.world_model.rollout import Context, Rollout
from wm_core.world_model.world_model import WorldModel

HELD = {"action_dim": 7, "proprioception_dim": 7}
EMBEDDED = small_config(kv_heads=4, registers=0, merged=True, single_step="mean", **HELD)
PLAIN = Statistics(torch.zeros(7), torch.ones(7))


def rollout_of(config: WorldModelConfig, engine: object = None) -> Rollout:
    reckoning = Reckoning(PLAIN, PLAIN) if config.model.proprioception_dim else None
    return Rollout(awake(config), config, reckoning=reckoning, engine=engine)  # type: ignore[arg-type]


def seen(rollout: Rollout, frames: int, told: bool = True, grid: tuple[int, int] = (3, 2)) -> Context:
    generator = torch.Generator().manual_seed(frames)
    latents = torch.randn(1, frames, grid[0] * grid[1], rollout.model.latent_dim, generator=generator)
    actions = torch.randn(1, frames, rollout.model.action_dim, generator=generator)
    readings = 0.3 * torch.randn(1, frames, 7, generator=generator) if rollout.model.proprioception_dim else None
    known = torch.ones(1, frames, dtype=torch.bool)
    conditioning = Conditioning(actions, known, readings, None if readings is None else known & told)
    return rollout.prefill(latents, conditioning, 5, grid)


def plans(config: WorldModelConfig, count: int, horizon: int) -> Tensor:
    return 0.3 * torch.randn(1, count, horizon, config.model.action_dim, generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def split() -> Iterator[SplitEngine]:
    engine = SplitEngine(Graphs(awake(EMBEDDED), EMBEDDED), workers=3)
    yield engine
    engine.close()


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize(
    "config",
    [EMBEDDED, small_config(**HELD), small_config(kv_heads=4, change=0.0, soft_cap=0.0, time_every=4), small_config()],
    ids=["embedded", "shared_keys", "unguessed", "untold"],
)
def test_the_graph_is_the_rollout(config: WorldModelConfig, steps: int) -> None:
    rollout = rollout_of(config)
    fast = rollout_of(config, OnnxEngine(Graphs(rollout.network, config)))
    for frames, horizon in ((2, 2), (9, 8)) if steps == 1 else ((2, 2),):  # 9 and 8 are past the window of 6: of the context, of its own
        actions = plans(config, 5, horizon)
        wanted = rollout.imagine(seen(rollout, frames), actions, (3, 4), steps)
        torch.testing.assert_close(fast.imagine(seen(rollout, frames), actions, (3, 4), steps), wanted, atol=2e-5, rtol=2e-5)


def test_the_graph_is_the_rollout_on_a_pooled_grid_and_after_a_reading_that_is_not_known() -> None:
    rollout = rollout_of(EMBEDDED)
    fast = rollout_of(EMBEDDED, OnnxEngine(Graphs(rollout.network, EMBEDDED)))
    context, actions = seen(rollout, 4, told=False, grid=(1, 1)), plans(EMBEDDED, 4, 3)
    torch.testing.assert_close(fast.imagine(context, actions, (0,), 1), rollout.imagine(context, actions, (0,), 1), atol=2e-5, rtol=2e-5)


def test_the_graph_of_a_deterministic_model_takes_one_step_whatever_k_is_asked_for() -> None:
    config = small_config(kind="deterministic", **HELD)
    rollout = rollout_of(config)
    fast, actions = rollout_of(config, OnnxEngine(Graphs(rollout.network, config))), plans(config, 5, 3)
    one, four = (fast.imagine(seen(rollout, 4), actions, (3,), steps) for steps in (1, 4))
    assert torch.equal(one, four)
    torch.testing.assert_close(four, rollout.imagine(seen(rollout, 4), actions, (3,), 1), atol=2e-5, rtol=2e-5)


def test_what_an_engine_cannot_do_torch_does() -> None:
    class Refuses:
        def frames(self, shape: Shape, feed: Feed) -> np.ndarray:
            raise AssertionError("was asked")

        def close(self) -> None:
            pass

    config = small_config(kv_heads=4)
    rollout, fast = rollout_of(config), rollout_of(config, Refuses())
    actions, known = plans(config, 3, 2), torch.tensor([[[True, False]] * 3])
    context = seen(rollout, 3)
    assert torch.equal(fast.imagine(context, actions, known=known), rollout.imagine(context, actions, known=known))
    with pytest.raises(AssertionError, match="was asked"):
        fast.imagine(context, actions)


def test_a_model_with_a_wide_head_is_refused() -> None:
    config = small_config(head_layers=1, head_dim=32)
    with pytest.raises(WorldModelError, match="linear head"):
        Graphs(awake(config), config).of(Shape(2, 1, (3, 2)))


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_any_number_of_processes_imagine_the_same(split: SplitEngine, count: int) -> None:
    rollout = rollout_of(EMBEDDED)
    context, actions = seen(rollout, 3), plans(EMBEDDED, count, 3)
    one = rollout_of(EMBEDDED, OnnxEngine(Graphs(rollout.network, EMBEDDED)))
    torch.testing.assert_close(
        rollout_of(EMBEDDED, split).imagine(context, actions, (1, 2), 1), one.imagine(context, actions, (1, 2), 1), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_the_share_of_a_process_that_dies_is_taken_over_and_it_is_named(how: signal.Signals) -> None:
    rollout = rollout_of(EMBEDDED)
    engine = SplitEngine(Graphs(rollout.network, EMBEDDED), workers=2, patience=5.0)
    try:
        fast, context, actions = rollout_of(EMBEDDED, engine), seen(rollout, 3), plans(EMBEDDED, 8, 3)
        whole = fast.imagine(context, actions, (0,), 1)
        name, process = next(iter(engine.processes.items()))
        os.kill(process, how)
        torch.testing.assert_close(fast.imagine(context, actions, (0,), 1), whole, atol=1e-5, rtol=1e-5)
        assert engine.lost == [name]
        assert len(engine.processes) == 1
        os.kill(next(iter(engine.processes.values())), signal.SIGKILL)
        with pytest.raises(WorldModelError, match="all processes that imagine have died"):
            fast.imagine(context, actions, (0,), 1)
    finally:
        engine.close()


def test_a_process_that_cannot_imagine_says_why_and_goes_on(split: SplitEngine) -> None:
    rollout = rollout_of(EMBEDDED)
    (feed,) = rollout.feeds(seen(rollout, 3), plans(EMBEDDED, 6, 3)[0], (0,))
    shape = Shape(3, 1, (3, 2))
    wanted = split.frames(shape, feed)
    with pytest.raises(WorldModelError, match="could not imagine"):
        split.frames(shape, {**feed, "last": feed["last"][:, :2]})
    assert np.array_equal(split.frames(shape, feed), wanted)


def test_closing_ends_every_process() -> None:
    engine = SplitEngine(Graphs(awake(EMBEDDED), EMBEDDED), workers=2)
    processes = list(engine.processes.values())
    engine.close()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def measured(rollout: Rollout, config: WorldModelConfig) -> dict[str, np.ndarray]:
    feeds = [rollout.feeds(seen(rollout, frames), plans(config, 16, 3)[0], (0,))[0] for frames in (2, 3, 5)]
    return measured_ranges(rollout.network, config, Shape(3, 1, (3, 2)), feeds)


def test_in_bytes_frames_stay_near_and_in_the_order_of_their_samples() -> None:
    rollout = rollout_of(EMBEDDED)
    exact, ranges = OnnxEngine(Graphs(rollout.network, EMBEDDED)), measured(rollout, EMBEDDED)
    rough = OnnxEngine(Graphs(rollout.network, EMBEDDED, ranges))
    (feed,) = rollout.feeds(seen(rollout, 4), plans(EMBEDDED, 40, 3)[0], (0,))
    wanted, found = (engine.frames(Shape(3, 1, (3, 2)), feed)[:, -1].reshape(40, -1) for engine in (exact, rough))
    error, spread = np.sqrt(np.square(found - wanted).mean()), wanted.std(axis=0).mean()
    assert 0.0 < error < 0.1 * spread
    distances = [np.square(ends - wanted[7]).mean(axis=1) for ends in (wanted, found)]
    assert np.corrcoef(*distances)[0, 1] > 0.99


def test_a_sample_in_bytes_does_not_depend_on_those_beside_it() -> None:
    rollout = rollout_of(EMBEDDED)
    rough = OnnxEngine(Graphs(rollout.network, EMBEDDED, measured(rollout, EMBEDDED)))
    (feed,) = rollout.feeds(seen(rollout, 4), plans(EMBEDDED, 12, 3)[0], (0,))
    alone = {name: value[3:5] if name in ("actions", "readings") else value for name, value in feed.items()}
    shape = Shape(3, 1, (3, 2))
    np.testing.assert_allclose(rough.frames(shape, alone), rough.frames(shape, feed)[3:5], atol=0.02)


def test_one_channel_that_is_large_does_not_cost_the_others_their_precision() -> None:
    config = EMBEDDED
    rollout = rollout_of(config)
    with torch.no_grad():
        rollout.network.blocks[2].mlp.up.weight[config.model.mlp_hidden + 3] *= 100.0
        rollout.network.blocks[2].mlp.down.weight[:, 3] /= 100.0  # the same function
    ranges = measured(rollout, config)
    even = {name: np.full_like(values, values.max()) for name, values in ranges.items()}
    (feed,) = rollout.feeds(seen(rollout, 4), plans(config, 16, 3)[0], (0,))
    shape = Shape(3, 1, (3, 2))
    wanted = OnnxEngine(Graphs(rollout.network, config)).frames(shape, feed)
    errors = [
        np.square(OnnxEngine(Graphs(rollout.network, config, chosen)).frames(shape, feed) - wanted).mean() for chosen in (ranges, even)
    ]
    assert errors[0] < 0.25 * errors[1]


def test_a_mean_step_is_the_finest_one_from_noise() -> None:
    drawn, mean = rollout_of(small_config()), rollout_of(small_config(single_step="mean"))
    assert (drawn.schedule.step_of(1), mean.schedule.step_of(1)) == (0, mean.schedule.finest_step)
    assert all(drawn.schedule.step_of(steps) == mean.schedule.step_of(steps) for steps in (2, 4, 64))
    context, actions = seen(drawn, 3), plans(small_config(), 2, 2)
    assert not torch.allclose(drawn.imagine(context, actions, steps=1), mean.imagine(context, actions, steps=1))
    assert torch.equal(drawn.imagine(context, actions, steps=4), mean.imagine(context, actions, steps=4))


def checkpoint_in(folder: Path) -> Path:
    weights = awake(EMBEDDED).state_dict()
    statistics = {"latents": Statistics(torch.zeros(5), torch.ones(5)), "actions": PLAIN, "proprioception": PLAIN}
    return save(folder, "step", Checkpoint(EMBEDDED, weights, weights, statistics, Provenance("synthetic", "0123")))


def test_a_checkpoint_opens_with_the_engine_asked_for_and_refuses_bytes_without_ranges(tmp_path: Path) -> None:
    place = checkpoint_in(tmp_path)
    with pytest.raises(WorldModelError, match="nobody measured"):
        WorldModel.open(place, engine=EngineConfig("bytes", 0))
    model = WorldModel.open(place)
    latents, actions = torch.randn(1, 3, 6, 5), torch.randn(1, 3, 7)
    conditioning = Conditioning(actions, torch.ones(1, 3, dtype=torch.bool))
    context = model.context(latents, conditioning)
    byte_ranges.write(place, model.measured_ranges([context], [plans(EMBEDDED, 8, 3)[0]], 1), model.hash)
    wanted = model.imagine(context, plans(EMBEDDED, 3, 3), steps=1)
    exact, rough = (
        WorldModel.open(place, engine=EngineConfig(kind, 0)).imagine(context, plans(EMBEDDED, 3, 3), steps=1) for kind in ("onnx", "bytes")
    )
    torch.testing.assert_close(exact, wanted, atol=1e-4, rtol=1e-4)
    assert not torch.equal(rough, exact)
    assert torch.allclose(rough, exact, atol=0.5)


def test_ranges_of_other_weights_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    byte_ranges.write(tmp_path, {"0.up": np.array([1.0, 2.0], dtype=np.float32)}, "abc")
    found = byte_ranges.read(tmp_path, "abc")
    assert found is not None
    assert found["0.up"].tolist() == [1.0, 2.0]
    with pytest.raises(CheckpointError, match="other weights"):
        byte_ranges.read(tmp_path, "def")
    (tmp_path / byte_ranges.FILE).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        byte_ranges.read(tmp_path, "abc")
    (tmp_path / byte_ranges.FILE).unlink()
    assert byte_ranges.read(tmp_path, "abc") is None
