"""Protects that every frame and every number read is the one that was asked for; the `lerobot` package is the independent reader."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noise_datasets import CAMERAS, FPS, LENGTHS, Made, noise_episode, write

from wm_core.data.clip import ClipRequest, Preprocessing
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.inspect import inspect
from wm_core.data.reader import DatasetReader


@cache
def oracle(root: Path) -> Any:
    from lerobot.datasets import LeRobotDataset

    return LeRobotDataset("local/noise", root=root, video_backend="pyav", return_uint8=True)


@pytest.fixture(scope="module")
def reader(made: Made) -> DatasetReader:
    return DatasetReader(made.root, made.config)


def test_the_dataset_has_several_files_of_each_kind(made: Made) -> None:
    assert len(list(made.root.glob("data/**/*.parquet"))) >= 2
    for key in CAMERAS:
        assert len(list(made.root.glob(f"videos/{key}/**/*.mp4"))) >= (2 if "left" in key else 1)


def test_frames_are_those_of_the_lerobot_package(made: Made, reader: DatasetReader) -> None:
    draw, theirs = np.random.default_rng(0), oracle(made.root)
    firsts = np.concatenate([[0], np.cumsum(LENGTHS)])
    for _ in range(40):
        episode = int(draw.integers(len(LENGTHS)))
        rows = np.sort(draw.choice(LENGTHS[episode], size=int(draw.integers(1, 5)), replace=False))
        role = str(draw.choice(["left", "wrist"]))
        frames = reader.frames(episode, rows, role)
        for frame, row in zip(frames, rows, strict=True):
            item = theirs[int(firsts[episode] + row)]
            assert int(item["episode_index"]) == episode
            assert np.array_equal(frame, item[made.config.cameras[role]].numpy()), (episode, row, role)


def test_frames_are_in_the_order_they_were_written(made: Made, reader: DatasetReader) -> None:
    """Independent of every video library: of all pictures of the episode, the one that was written is the most alike."""
    for episode in range(len(LENGTHS)):
        written = made.episodes[episode].images["observation.images.left"].astype(np.float32)
        read = reader.frames(episode, np.arange(LENGTHS[episode]), "left").transpose(0, 2, 3, 1).astype(np.float32)
        distance = np.abs(read[:, None] - written[None]).mean(axis=(2, 3, 4))
        assert np.array_equal(distance.argmin(axis=1), np.arange(LENGTHS[episode]))


def test_numbers_are_those_that_were_written(made: Made, reader: DatasetReader) -> None:
    request = ClipRequest(seconds=1.0, fps=10.0)
    for episode, start in [(0, 0), (3, 11), (9, 15)]:
        clip = reader.clip(episode, start, request, "wrist")
        written = made.episodes[episode]
        assert np.array_equal(clip.rows, np.arange(start, start + 10))
        assert np.allclose(clip.state, written.columns["observation.state"][start : start + 10], atol=1e-6)
        assert np.allclose(clip.actions, written.columns["action"][start : start + 10], atol=1e-6)
        assert clip.action_mask.all()
        assert (clip.task, clip.viewpoint, clip.dataset, clip.episode) == (written.task, "wrist", "noise", episode)


def test_reading_backwards_and_again_gives_the_same(reader: DatasetReader) -> None:
    forward = [reader.frames(3, np.array([row]), "left")[0] for row in range(40)]
    backward = [reader.frames(3, np.array([row]), "left")[0] for row in reversed(range(40))]
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))


def test_a_reader_that_has_files_open_reads_the_same_in_another_process(reader: DatasetReader) -> None:
    here = reader.frames(5, np.arange(3, 9), "left")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        assert np.array_equal(other.submit(reader.frames, 5, np.arange(3, 9), "left").result(60), here)


def test_clips_are_asked_for_in_seconds(reader: DatasetReader) -> None:
    clip = reader.clip(3, 1, ClipRequest(seconds=2.0, fps=4.0), "left")
    assert clip.rows.tolist() == [1, 3, 6, 8, 11, 13, 16, 18]
    assert np.array_equal(clip.frames, reader.frames(3, clip.rows, "left"))


def test_clips_begin_only_where_they_fit(reader: DatasetReader) -> None:
    request = ClipRequest(seconds=2.0, fps=5.0)
    counts = reader.start_count(request)
    for episode in range(len(LENGTHS)):
        assert len(reader.clip(episode, int(counts[episode]) - 1, request, "wrist").frames) == 10 if counts[episode] else True
        with pytest.raises(EpisodeError, match="does not reach"):
            reader.clip(episode, int(counts[episode]), request, "wrist")


def test_pictures_are_brought_to_one_size(made: Made) -> None:
    reader = DatasetReader(made.root, made.config, Preprocessing(32, 32, "crop"))
    assert {reader.frames(0, np.arange(2), role).shape for role in ("left", "wrist")} == {(2, 3, 32, 32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 15.0}, "another rate"),
        ({"cameras": {"left": "observation.images.lift"}}, "observation.images.left"),
        ({"cameras": {"left": "observation.state"}}, "not a video"),
        ({"state": ("observation.stat",)}, "observation.state"),
    ],
)
def test_a_description_of_another_dataset_is_refused(made: Made, change: dict[str, Any], message: str) -> None:
    values = {"name": "noise", "fps": 10.0, "cameras": made.config.cameras} | change
    with pytest.raises(DatasetError, match=message):
        DatasetReader(made.root, DatasetConfig(**values))


def test_an_unknown_role_is_refused_with_the_nearest(reader: DatasetReader) -> None:
    with pytest.raises(DatasetError, match="nearest: wrist"):
        reader.frames(0, np.arange(1), "wirst")


def test_clips_of_what_was_silent_are_refused_and_others_are_given(tmp_path: Path) -> None:
    wrist = "observation.images.wrist"
    alive = np.ones(40, dtype=bool)
    alive[10:20] = False
    write(tmp_path / "set", [replace(noise_episode(3, 40), valid={wrist: alive})])
    reader = DatasetReader(tmp_path / "set", DatasetConfig("silent", FPS, {"wrist": wrist, "left": "observation.images.left"}))
    request = ClipRequest(seconds=4.0 / FPS, fps=FPS)
    for start in range(int(reader.start_count(request)[0])):
        assert len(reader.clip(0, start, request, "left").frames) == 4
        if alive[start : start + 4].all():
            assert len(reader.clip(0, start, request, "wrist").frames) == 4
        else:
            with pytest.raises(EpisodeError, match=f"{wrist} was silent.*near row {max(start, 10)}"):
                reader.clip(0, start, request, "wrist")


def test_a_state_that_was_silent_is_not_given_out_as_one(tmp_path: Path) -> None:
    alive = np.arange(40) < 30
    write(tmp_path / "set", [replace(noise_episode(3, 40), valid={"observation.state": alive})])
    described = DatasetConfig("silent", FPS, {"left": "observation.images.left"}, state=("observation.state",))
    reader, request = DatasetReader(tmp_path / "set", described), ClipRequest(seconds=4.0 / FPS, fps=FPS)
    assert reader.clip(0, 26, request, "left").state.shape[0] == 4
    with pytest.raises(EpisodeError, match="state was silent"):
        reader.clip(0, 27, request, "left")
    assert inspect(tmp_path / "set", described).silent == {"observation.images.left": 0.0, "observation.state": pytest.approx(0.25)}
