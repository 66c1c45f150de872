"""Protects state probes: errors come out in cm and degrees, of the right frames, against a truth that no model sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_core import configuration
from wm_core.data.clip import Preprocessing
from wm_core.data.collect import CollectConfig, collect
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.held_out import HeldOut
from wm_core.evaluation.state_probe import Frames, StateError, StateProbe, StateProbeConfig, fit, measure, probe_states
from wm_core.evaluation.true_states import states_of
from wm_core.robot import rotation
from wm_core.simulation.sim_config import SimConfig

CONFIG = Path(__file__).resolve().parents[2] / "config"
NAMES = ("tool", "cube")
NONE = np.zeros(0, dtype=np.int64)
MIX = torch.from_numpy(np.random.default_rng(1).normal(size=(12, 2 * 8)))


def random_poses(count: int, seed: int) -> torch.Tensor:
    """(count, 2, 6): positions within half a metre, turns within a third of a radian."""
    draw = np.random.default_rng(seed)
    return torch.from_numpy(np.concatenate([draw.uniform(-0.5, 0.5, (count, 2, 3)), draw.uniform(-0.3, 0.3, (count, 2, 3))], axis=2))


def tokens_of(poses: torch.Tensor) -> torch.Tensor:
    """Poses (..., 2, 6) mixed linearly into two tokens of eight channels."""
    return (poses.flatten(-2) @ MIX).unflatten(-1, (2, 8))


@pytest.fixture(scope="module")
def probe() -> StateProbe:
    poses = random_poses(400, 0)
    return fit(tokens_of(poses), poses, torch.arange(400) // 10, NAMES)


def found_at(probe: StateProbe, offset: torch.Tensor) -> dict[tuple[str, int], StateError]:
    """Errors at horizons 1 and 5 where everything moved by `offset` (2, 6) per step and the imagined frames did not follow at 5."""
    start = random_poses(60, 2)
    poses = torch.stack([start + offset, start + 5.0 * offset], dim=1)
    imagined = torch.stack([start + offset, start + 4.0 * offset], dim=1)
    frames = Frames(tokens_of(imagined), tokens_of(poses), tokens_of(start), poses, start)
    errors = measure(probe, (1, 5), frames, np.arange(60) // 2)
    assert errors.clips == 60
    return {(error.quantity, error.horizon): error for error in errors.errors}


def test_errors_are_in_cm_and_measured_against_the_right_frames(probe: StateProbe) -> None:
    offset = torch.zeros(2, 6, dtype=torch.float64)
    offset[0, 0], offset[1, 1] = 0.01, 0.015
    found = found_at(probe, offset)
    everywhere = {(name, horizon) for name in ("tool, cm", "cube, cm", "tool, degrees") for horizon in (1, 5)}
    assert set(found) == everywhere | {("cube that moved, cm", 5)}
    for name, step in (("tool, cm", 1.0), ("cube, cm", 1.5)):
        assert found[name, 1].imagined.value == pytest.approx(0.0, abs=0.05)
        assert found[name, 5].imagined.value == pytest.approx(step, abs=0.05)
        assert found[name, 5].true.value == pytest.approx(0.0, abs=0.05)
        assert found[name, 1].copied.value == pytest.approx(step, abs=0.05)
        assert found[name, 5].copied.value == pytest.approx(5.0 * step, abs=0.05)


def test_what_moved_is_also_judged_alone(probe: StateProbe) -> None:
    start = random_poses(60, 2)
    poses = start.clone()[:, None]
    poses[:12, 0, 1, 0] += 0.05  # in every fifth clip the cube is pushed, and the model does not see it
    frames = Frames(tokens_of(start)[:, None], tokens_of(poses), tokens_of(start), poses, start)
    found = {error.quantity: error for error in measure(probe, (3,), frames, np.arange(60)).errors}
    assert found["cube, cm"].imagined.value == pytest.approx(0.0, abs=0.05)
    moved = found["cube that moved, cm"]
    assert (moved.clips, found["cube, cm"].clips) == (12, 60)
    assert moved.imagined.value == moved.copied.value == pytest.approx(5.0, abs=0.05)
    assert moved.true.value == pytest.approx(0.0, abs=0.05)


def test_a_turn_comes_out_in_degrees(probe: StateProbe) -> None:
    offset = torch.zeros(2, 6, dtype=torch.float64)
    offset[0, 5] = np.radians(2.0)
    found = found_at(probe, offset)
    # Adding to a rotation vector turns by no more than that, and by nearly that where the vector is short.
    assert found["tool, degrees", 5].imagined.value == pytest.approx(2.0, abs=0.1)
    assert found["tool, degrees", 5].copied.value == pytest.approx(10.0, abs=0.4)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A labelled and an unlabelled set of three short episodes."""
    base, arm = configuration.read(CollectConfig, CONFIG / "collect.yaml"), configuration.read(SimConfig, CONFIG / "sim_arm.yaml")
    root = tmp_path_factory.mktemp("sets")
    for labelled in (True, False):
        collect(replace(base, episodes=3, frames=6, labelled=labelled), arm, root / str(labelled))
    return {labelled: root / str(labelled) for labelled in (True, False)}


def reader_of(root: Path, name: str, size: Preprocessing | None = None) -> DatasetReader:
    return DatasetReader(root, configuration.read(DatasetConfig, CONFIG / "datasets" / f"{name}.yaml"), size)


def test_the_truth_of_a_collected_set_is_where_the_tool_was(collected: dict[bool, Path]) -> None:
    reader = reader_of(collected[True], "embedded_arm")
    truth = states_of(reader)
    assert truth is not None
    assert truth.names == ("tool", "cube", "cylinder")
    poses, state = truth.at(1, np.array([0, 4])), reader.columns(1)["observation.state"][[0, 4]]
    np.testing.assert_allclose(poses[:, 0], state[:, :6], atol=1e-6)
    assert (poses[:, 1:, 2] > 0.0).all()  # the objects stand on the table
    assert (poses[:, 1:, 2] < 0.06).all()
    acts, _ = reader.actions(1, np.array([0, 4]))
    turned = rotation.compose(poses[0, 0, 3:], acts[0, 3:6].astype(np.float64))
    np.testing.assert_allclose(turned, poses[1, 0, 3:], atol=1e-5)


def coarse(pictures: torch.Tensor) -> torch.Tensor:
    """A stand-in for an encoder: pictures averaged over cells of 16 pixels."""
    return torch.nn.functional.avg_pool2d(pictures.float(), 16).flatten(2).transpose(1, 2)


def clips_of(reader: DatasetReader, context: int) -> HeldOut:
    rows = np.arange(6)

    def stored(episode: int, rows: np.ndarray) -> np.ndarray:
        return coarse(torch.from_numpy(reader.frames(episode, rows, "front"))).numpy()

    nothing = torch.zeros(3, 6, 7)
    return HeldOut(stored, nothing, torch.zeros(3, 6, dtype=torch.bool), None, np.arange(3), np.tile(rows, (3, 1)), context, "x", "front")


def test_imagining_what_comes_gives_the_errors_of_the_true_frames(collected: dict[bool, Path]) -> None:
    reader = reader_of(collected[True], "embedded_arm")
    clips = clips_of(reader, context=2)
    config = StateProbeConfig(str(collected[True]), "datasets/embedded_arm.yaml", frames=18)
    found = probe_states(config, CONFIG, coarse, clips, reader, NONE, clips.latents[:, 2:], (1, 4, 10))
    assert found is not None
    assert {error.horizon for error in found.errors} == {1, 4}  # ten frames ahead are not there
    for error in found.errors:
        assert error.imagined == error.true
    # Fitted to these very frames, so the true ones are read almost exactly and the last seen one is off by what moved meanwhile.
    tool = next(error for error in found.errors if error.quantity == "tool, cm" and error.horizon == 4)
    assert tool.true.value < 0.5 < tool.copied.value


def test_a_set_without_the_truth_gives_no_errors_and_cannot_be_fitted_to(collected: dict[bool, Path]) -> None:
    blind, seeing = reader_of(collected[False], "embedded_arm_unlabelled"), reader_of(collected[True], "embedded_arm")
    clips = clips_of(seeing, context=2)
    config = StateProbeConfig(str(collected[False]), "datasets/embedded_arm_unlabelled.yaml", frames=18)
    assert probe_states(config, CONFIG, coarse, clips, blind, NONE, clips.latents[:, 2:], (1,)) is None
    with pytest.raises(EvaluationError, match="where the tool was"):
        probe_states(config, CONFIG, coarse, clips, seeing, NONE, clips.latents[:, 2:], (1,))


def test_probes_are_fitted_to_other_episodes_than_are_tested_and_to_pictures_of_the_same_size(collected: dict[bool, Path]) -> None:
    reader = reader_of(collected[True], "embedded_arm", Preprocessing(48, 96, "crop"))
    clips, shown = clips_of(reader, context=2), list[torch.Tensor]()

    def encode(pictures: torch.Tensor) -> torch.Tensor:
        shown.append(pictures)
        return coarse(pictures)

    config = StateProbeConfig(str(collected[True]), "datasets/embedded_arm.yaml", frames=18)
    found = probe_states(config, CONFIG, encode, clips, reader, np.array([0]), clips.latents[:, 2:], (1,))
    assert found is not None
    assert found.truth == {"tool": "observation.state", **dict.fromkeys(("cube", "cylinder"), "observation.environment_state")}
    fitted = np.concatenate([reader.frames(episode, np.arange(6), "front") for episode in (1, 2)])
    assert np.array_equal(torch.cat(shown).numpy(), fitted)
    with pytest.raises(EvaluationError, match="no episode is left"):
        probe_states(config, CONFIG, encode, clips, reader, np.arange(3), clips.latents[:, 2:], (1,))
