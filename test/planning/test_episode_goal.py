"""Protects goals from a recorded episode: they are what the encoder sees in that frame, and what is not there is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_datasets import FPS, noise_episode, write

from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.goal_request import Code, GoalRequest, RefusedError, find_goal
from wm_core.vision.embedded import MomentNetwork
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing

SIZE, ROWS, CAMERAS = 32, 6, ("left", "wrist")
KEYS = {name: f"observation.images.{name}" for name in CAMERAS}


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    torch.manual_seed(0)
    plain = Preprocessing(SIZE, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return FrozenEncoder("small", MomentNetwork(8, 2, 8, 8, 8).build(SIZE), plain, torch.device("cpu"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes that two cameras saw."""
    root = tmp_path_factory.mktemp("episodes") / "recorded"
    write(root, [noise_episode(seed, ROWS, dict.fromkeys(KEYS.values(), (SIZE, SIZE))) for seed in range(2)])
    return root


def refused(request: GoalRequest, encoder: FrozenEncoder, camera: str = "left") -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        find_goal(request, encoder, GoalLibrary(Path("/nowhere")), camera)
    assert caught.value.code is Code.GOAL_UNKNOWN
    return caught.value


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_goal_is_the_frame_as_the_camera_that_watches_saw_it(camera: str, encoder: FrozenEncoder, recorded: Path) -> None:
    request = GoalRequest(episode=f"{recorded}#1", frame=4)
    goal = find_goal(request, encoder, GoalLibrary(Path("/nowhere")), f"camera_{camera}")
    shown = DatasetReader(recorded, DatasetConfig("recorded", FPS, KEYS)).frames(1, np.array([4]), camera)
    np.testing.assert_array_equal(goal.picture, shown[0].transpose(1, 2, 0))
    torch.testing.assert_close(goal.latents, encoder(torch.from_numpy(shown)).patches[0])
    assert (goal.grid, goal.encoder, goal.encoder_hash) == (encoder.grid, encoder.name, encoder.weight_hash)
    other = find_goal(replace(request, frame=3), encoder, GoalLibrary(Path("/nowhere")), f"camera_{camera}")
    assert not torch.equal(other.latents, goal.latents)


def test_frames_and_episodes_that_are_not_there(encoder: FrozenEncoder, recorded: Path) -> None:
    for frame in (ROWS, -1):
        error = refused(GoalRequest(episode=f"{recorded}#1", frame=frame), encoder)
        assert "no such frame" in str(error)
        assert f"got: {frame}; allowed: 0 .. {ROWS - 1}" in str(error)
    assert "no such episode; got: 2; allowed: one of 2, from 0" in str(refused(GoalRequest(episode=f"{recorded}#2"), encoder))


def test_a_camera_that_the_dataset_does_not_know(encoder: FrozenEncoder, recorded: Path) -> None:
    error = refused(GoalRequest(episode=f"{recorded}#0"), encoder, camera="front")
    assert "does not say which of its cameras watches" in str(error)
    assert all(key in str(error) for key in KEYS.values())
    assert "allowed: front" in str(error)
