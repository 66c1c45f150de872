"""Protects what a label means: the motion from one sampled row to the next, in the base's axes, whatever the dataset writes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pinocchio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise_datasets import Made, action_mapping

from wm_core.data import actions, metadata
from wm_core.data.dataset_config import ActionMapping, Part
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.errors import ConfigurationError
from wm_core.robot import rotation


def poses(seed: int, rows: int) -> list[np.ndarray]:
    """A smooth wandering of the tool, 4x4 poses."""
    draw = np.random.default_rng(seed)
    result = [rotation.pose(draw.normal(size=3), rotation.matrix(draw.normal(size=3)))]
    for _ in range(rows - 1):
        before = result[-1]
        shift, turn = 0.03 * draw.normal(size=3), 0.2 * draw.normal(size=3)
        result.append(rotation.pose(before[:3, 3] + shift, rotation.matrix(turn) @ before[:3, :3]))
    return result


def pose_mapping(form: str) -> ActionMapping:
    count = 4 if form == "quaternion_xyzw" else 3
    rotation_part = Part("turn", count, tuple(range(count)))
    return ActionMapping("pose", Part("place", 3, (0, 1, 2)), rotation_part, form, Part("grip", 1, (0,)), 1.0, 0.0)


def written(path: list[np.ndarray], form: str) -> np.ndarray:
    if form == "rotation_vector":
        return np.array([rotation.vector(pose[:3, :3]) for pose in path])
    if form == "quaternion_xyzw":
        return np.array([np.roll(rotation.quaternion(pose[:3, :3]), -1) for pose in path])
    return np.array([pinocchio.rpy.matrixToRpy(pose[:3, :3]) for pose in path])


@pytest.mark.parametrize("form", ["rotation_vector", "quaternion_xyzw", "euler_xyz"])
def test_every_way_to_write_a_rotation_gives_the_same_motion(form: str) -> None:
    path = poses(4, 12)
    columns = {"place": np.array([pose[:3, 3] for pose in path]), "turn": written(path, form), "grip": np.linspace(0, 1, 12)[:, None]}
    rows = np.array([0, 1, 3, 6, 8, 11])
    acts, known = actions.between(pose_mapping(form), columns, rows)
    assert known.all()
    for act, here, there in zip(acts, rows[:-1], rows[1:], strict=True):
        assert np.allclose(path[here][:3, 3] + act[:3], path[there][:3, 3], atol=1e-6)
        assert np.allclose(rotation.matrix(act[3:6].astype(float)) @ path[here][:3, :3], path[there][:3, :3], atol=1e-6)
        assert np.isclose(act[6], 1.0 - columns["grip"][there - 1, 0], atol=1e-6), "1 is closed in this dataset"


@given(st.integers(0, 1000), st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_deltas_of_skipped_rows_are_composed(seed: int, strides: list[int]) -> None:
    path = poses(seed, sum(strides) + 1)
    deltas = [rotation.pose_error(after, before) for before, after in itertools.pairwise(path)]
    columns = {"action": np.concatenate([deltas, np.ones((len(deltas), 1))], axis=1)}
    rows = np.concatenate([[0], np.cumsum(strides)])
    acts, known = actions.between(action_mapping(), columns, rows)
    assert known.all()
    for act, here, there in zip(acts, rows[:-1], rows[1:], strict=True):
        assert np.allclose(act[:6], rotation.pose_error(path[there], path[here]), atol=1e-5)


def test_what_leads_past_the_end_is_not_known() -> None:
    columns = {"action": np.ones((5, 7)) * 0.01}
    acts, known = actions.between(action_mapping(), columns, np.array([2, 3, 4, 5, 6]))
    assert known.tolist() == [True, True, True, False]
    assert not acts[3].any()
    place = {"place": np.zeros((5, 3)), "turn": np.zeros((5, 3)), "grip": np.zeros((5, 1))}
    _, known = actions.between(pose_mapping("rotation_vector"), place, np.array([2, 3, 4, 5]))
    assert known.tolist() == [True, True, False], "the last pose leads nowhere"


def test_a_delta_is_scaled_to_metres() -> None:
    mapping = replace(action_mapping(), translation=Part("action", 7, (0, 1, 2), scale=0.075))
    acts, _ = actions.between(mapping, {"action": np.full((3, 7), 0.5)}, np.array([0, 1]))
    assert np.allclose(acts[0, :3], 0.0375)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_that_is_no_number_is_refused_and_its_row_named(bad: float) -> None:
    columns = {"action": np.zeros((6, 7))}
    columns["action"][4, 2] = bad
    with pytest.raises(EpisodeError, match="row 4 of action"):
        actions.between(action_mapping(), columns, np.arange(7))
    _, known = actions.between(action_mapping(), columns, np.arange(4))
    assert known.all(), "rows before it can be used"


def test_a_mapping_for_another_width_is_refused(made: Made) -> None:
    with pytest.raises(DatasetError, match=r"got: 7 numbers; allowed: 8"):
        actions.check(action_mapping(width=8), metadata.load(made.root))


def test_a_mapping_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no number 7"):
        Part("action", 7, (5, 6, 7))
    with pytest.raises(ConfigurationError, match="4 numbers"):
        replace(action_mapping(), rotation_form="quaternion_xyzw")
    with pytest.raises(ConfigurationError, match="open gripper"):
        replace(action_mapping(), gripper_open=0.0)
