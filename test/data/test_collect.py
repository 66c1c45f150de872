"""Protects collected data: actions are what was executed, episodes depend on their seed alone, pushing pushes, nothing half made stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wm_core import configuration
from wm_core.data.collect import ACTION, OBJECT_STATE, STATE, CollectConfig, Shares, Take, collect, takes, unlabelled
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError
from wm_core.data.inspect import inspect
from wm_core.data.reader import DatasetReader
from wm_core.errors import ConfigurationError, SimulationError
from wm_core.robot import rotation
from wm_core.robot.proprioception import pose_of_row
from wm_core.simulation.sim_config import SimConfig

FRONT = "observation.images.front"
KINDS = ("random", "waypoint", "pushing", "settling")
DESCRIPTIONS = Path(__file__).resolve().parents[2] / "config" / "datasets"


def only(kind: str) -> Shares:
    return Shares(**{name: float(name == kind) for name in KINDS})


@pytest.fixture(scope="module")
def config(collect_config: CollectConfig) -> CollectConfig:
    return replace(collect_config, episodes=2, frames=20)


@pytest.fixture(scope="module")
def taken(config: CollectConfig, sim_config: SimConfig) -> dict[str, list[Take]]:
    return {kind: list(takes(replace(config, motion=only(kind)), sim_config)) for kind in KINDS}


def test_the_actions_lead_from_every_state_to_the_next(taken: dict[str, list[Take]]) -> None:
    for take in (take for kind in taken.values() for take in kind):
        states, acts = take.episode.columns[STATE], take.episode.columns[ACTION]
        for before, act, after in zip(states[:-1], acts[:-1], states[1:], strict=True):
            assert np.allclose(before[:3] + act[:3], after[:3], atol=1e-9)
            turned = rotation.matrix(act[3:6]) @ pose_of_row(before)[:3, :3]
            assert np.allclose(turned, pose_of_row(after)[:3, :3], atol=1e-9)


def test_steps_stay_within_their_limits_and_the_tool_within_its_box(
    taken: dict[str, list[Take]], config: CollectConfig, sim_config: SimConfig
) -> None:
    for take in (take for kind in taken.values() for take in kind):
        acts, places = take.episode.columns[ACTION], take.episode.columns[STATE][:, :3]
        assert np.linalg.norm(acts[:, :3], axis=1).max() <= config.limits.step + 1e-9
        assert np.linalg.norm(acts[:, 3:6], axis=1).max() <= config.limits.turn + 1e-9
        assert np.all(places >= np.array(sim_config.workspace.low) - 1e-9)
        assert np.all(places <= np.array(sim_config.workspace.high) + 1e-9)


def test_what_the_box_cut_off_is_not_in_the_label(config: CollectConfig, sim_config: SimConfig) -> None:
    """In a box a tenth of a millimetre high nothing can move upwards, whatever the motion asks for."""
    flat = replace(sim_config.workspace, low=(0.3, -0.3, 0.2), high=(0.64, 0.3, 0.2001))
    (take,) = takes(replace(config, episodes=1, motion=only("random")), replace(sim_config, workspace=flat))
    assert np.abs(take.episode.columns[ACTION][:, 2]).max() < 1.01e-4
    assert np.abs(take.episode.columns[ACTION][:, :2]).max() > 0.005


def test_the_arm_is_where_it_was_told_to_be_when_an_episode_begins(taken: dict[str, list[Take]]) -> None:
    from wm_core.simulation.kinematics import ArmKinematics

    forward = ArmKinematics().forward
    for take in (take for kind in taken.values() for take in kind):
        row = take.episode.columns[STATE][0]
        assert np.linalg.norm(forward(row[7:])[:3, 3] - row[:3]) < 0.01


def test_pushing_moves_objects(taken: dict[str, list[Take]]) -> None:
    assert all(take.moved > 0.02 for take in taken["pushing"])
    for take in taken["pushing"]:
        places = take.episode.columns[OBJECT_STATE].reshape(-1, 2, 6)[:, :, :3]
        assert take.moved == pytest.approx(np.linalg.norm(places - places[0], axis=-1).max())


def test_settling_comes_to_rest_and_stays_about_a_place(taken: dict[str, list[Take]], config: CollectConfig) -> None:
    for take in taken["settling"]:
        steps = np.linalg.norm(take.episode.columns[ACTION][:, :3], axis=1)
        places = take.episode.columns[STATE][:, :3]
        assert np.mean(steps < 0.1 * config.limits.step) > 0.25, "a good part of the rows hardly move"
        assert np.linalg.norm(places[-8:] - places[-1], axis=1).max() < 0.06
        assert steps[-4:].max() < config.limits.step


def test_layouts_differ_and_objects_lie_on_the_table(taken: dict[str, list[Take]]) -> None:
    starts = np.array([take.episode.columns[OBJECT_STATE][0] for kind in taken.values() for take in kind])
    assert len(np.unique(starts[:, :2].round(3), axis=0)) >= 2
    assert np.all(starts[:, [2, 8]] > 0.02)


def test_an_episode_depends_on_the_seed_and_its_number_alone(config: CollectConfig, sim_config: SimConfig) -> None:
    short = replace(config, frames=6)
    three = list(takes(replace(short, episodes=3), sim_config))
    again = list(takes(replace(short, episodes=2), sim_config))
    other = list(takes(replace(short, episodes=1, seed=config.seed + 1), sim_config))
    for first, second in zip(three, again, strict=False):
        assert first.kind == second.kind
        assert np.array_equal(first.episode.images[FRONT], second.episode.images[FRONT])
        assert all(np.array_equal(first.episode.columns[key], second.episode.columns[key]) for key in first.episode.columns)
    assert not np.array_equal(three[0].episode.images[FRONT], other[0].episode.images[FRONT])


def test_an_unlabelled_episode_tells_nothing_but_pictures(taken: dict[str, list[Take]]) -> None:
    bare = unlabelled(taken["pushing"][0].episode)
    assert not bare.columns
    assert not bare.task
    assert list(bare.images) == [FRONT]


@pytest.mark.parametrize("labelled", [True, False])
def test_a_collected_set_reads_back_as_it_was(config: CollectConfig, sim_config: SimConfig, tmp_path: Path, labelled: bool) -> None:
    config = replace(config, episodes=2, frames=8, labelled=labelled)
    report = collect(config, sim_config, tmp_path / "set")
    assert sum(report.episodes.values()) == 2
    name = "embedded_arm" if labelled else "embedded_arm_unlabelled"
    reader = DatasetReader(tmp_path / "set", configuration.read(DatasetConfig, DESCRIPTIONS / f"{name}.yaml"))
    for index, take in enumerate(takes(config, sim_config)):
        pictures = reader.frames(index, np.arange(8), "front").transpose(0, 2, 3, 1)
        error = pictures.astype(float) - take.episode.images[FRONT]
        assert 10 * np.log10(255.0**2 / np.mean(error**2)) > 40.0, "dB: the videos are close to what the camera saw"
        acts, known = reader.actions(index, np.arange(9))
        assert known.all() == labelled
        assert np.allclose(acts, take.episode.columns[ACTION] if labelled else 0.0, atol=1e-6)
    assert inspect(tmp_path / "set").corrupt == ()


def test_what_is_there_is_never_written_over(config: CollectConfig, sim_config: SimConfig, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "precious").touch()
    with pytest.raises(DatasetError, match="something at the place"):
        collect(config, sim_config, tmp_path / "set")
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "precious"]


def test_an_interrupted_collection_leaves_nothing(config: CollectConfig, sim_config: SimConfig, tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(replace(config, frames=4), sim_config, tmp_path / "set", interrupt)
    assert not list(tmp_path.iterdir())


def test_settings_that_cannot_be_are_refused(config: CollectConfig, sim_config: SimConfig) -> None:
    with pytest.raises(ConfigurationError, match="no kind of motion"):
        Shares(0.0, 0.0, 0.0)
    with pytest.raises(SimulationError, match="whole number of physics steps"):
        list(takes(replace(config, fps=7), sim_config))
