"""Protects what is said of a dataset before it is trained on: planted faults are found, counted and put into numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise_datasets import FPS, LENGTHS, Made, action_mapping, noise_episode, write

from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.episode import Episode
from wm_core.data.inspect import action_lag, inspect
from wm_core.data.reader import DatasetReader

CAMERA = {"observation.images.left": (64, 96)}


def moving_episode(seed: int, lag: int, rows: int = 60) -> Episode:
    """A tool that carries out every action `lag` rows late, rests for a third of the time, and is often told to go as fast as it can."""
    draw = np.random.default_rng(seed)
    acts = np.clip(draw.normal(size=(rows, 7)) * 0.03, -0.04, 0.04)
    acts[: rows // 3] = 0.0
    late = np.concatenate([np.zeros((lag, 3)), acts[: rows - lag, :3]])
    place = np.concatenate([np.zeros((1, 3)), np.cumsum(late, axis=0)[:-1]])
    bare = noise_episode(seed, rows, CAMERA)
    return replace(bare, columns={"action": acts, "observation.state": place})


def description() -> DatasetConfig:
    return DatasetConfig("moving", FPS, {"left": "observation.images.left"}, action_mapping(), ("observation.state",))


def test_a_report_says_what_was_planted(tmp_path: Path) -> None:
    episodes = [moving_episode(seed, lag=2) for seed in range(3)]
    stamps = episodes[1].stamps.copy()
    stamps[30:] += 0.35
    episodes[1] = replace(episodes[1], stamps=stamps)
    write(tmp_path / "set", episodes)
    report = inspect(tmp_path / "set", description(), picture=tmp_path / "report" / "set.png")
    assert (report.episodes, report.rows, report.checked, report.corrupt) == (3, 180, 3, ())
    assert report.measured_fps == pytest.approx(10.0)
    assert report.gaps == 1
    assert report.worst_gap == pytest.approx(0.45, abs=1e-6)
    assert report.lag is not None
    assert (report.lag.rows, report.lag.correlation) == (2, pytest.approx(1.0, abs=0.01))
    assert report.idle == pytest.approx(1 / 3, abs=0.03)
    clipped = np.mean([np.abs(e.columns["action"][:, 0]) > 0.0399 for e in episodes])
    assert report.saturated["dx"] == pytest.approx(clipped, abs=0.02)
    assert report.cameras == {"left": (64, 96)}
    assert (tmp_path / "report" / "set.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads(json.dumps(report.mapping()))["gaps"] == 1


def test_corrupt_episodes_are_counted(copied: Callable[[], Made]) -> None:
    dataset = copied()
    reader = DatasetReader(dataset.root, dataset.config)
    path = reader.metadata.video_file_of(0, "observation.images.wrist")
    lost = {e for e in range(len(LENGTHS)) if reader.metadata.video_file_of(e, "observation.images.wrist") == path}
    path.unlink()
    report = inspect(dataset.root, dataset.config)
    assert {skip.episode for skip in report.corrupt} == lost
    assert f"corrupt: {len(lost)} episodes of {len(LENGTHS)} checked" in report.text()


def test_no_more_episodes_are_corrupt_than_were_checked(copied: Callable[[], Made]) -> None:
    """Those that contradict themselves are known of all, whatever is opened."""
    dataset = copied()
    (path,) = (dataset.root / "meta" / "episodes").rglob("*.parquet")
    table = pq.read_table(path)
    starts = "videos/observation.images.left/from_timestamp"
    moved = pa.array([value - 1.0 for value in table[starts].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index(starts), starts, moved), path)
    report = inspect(dataset.root, dataset.config, most=3)
    assert (report.checked, len(report.corrupt)) == (len(LENGTHS), len(LENGTHS))
    assert {skip.episode for skip in report.corrupt} == set(range(len(LENGTHS)))


def test_a_dataset_without_a_description_is_shown_by_its_own_names(made: Made) -> None:
    report = inspect(made.root)
    assert set(report.cameras) == {"left", "wrist"}
    assert report.labelled == 0.0
    assert report.lag is None
    assert np.isnan(report.idle)


def test_only_as_many_episodes_are_opened_as_asked(made: Made) -> None:
    report = inspect(made.root, made.config, most=3)
    assert (report.checked, report.episodes) == (3, 10)


@pytest.mark.parametrize("lag", [0, 1, 5])
def test_the_lag_is_found(lag: int) -> None:
    episodes = [moving_episode(seed, lag) for seed in range(2)]
    found = action_lag([e.columns["action"] for e in episodes], [e.columns["observation.state"] for e in episodes])
    assert found is not None
    assert found.rows == lag


def test_no_lag_is_made_up_where_nothing_moves() -> None:
    assert action_lag([np.ones((20, 7), dtype=np.float32)], [np.zeros((20, 3))]) is None
