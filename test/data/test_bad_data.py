"""Protects against wrong numbers from damaged datasets: each fault is an error that names itself, or costs its episode and is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise_datasets import FPS, LENGTHS, Made, action_mapping, noise_episode, write

from wm_core.data.clip import ClipRequest, Preprocessing
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.loader import ClipStream
from wm_core.data.mixture import Mixture, MixtureConfig, Source
from wm_core.data.reader import DatasetReader

LEFT = "observation.images.left"
REQUEST = ClipRequest(seconds=0.8, fps=FPS)
LABELLED = MixtureConfig(unlabelled_per_labelled=0.0, held_out=0.0)


def episodes_of(reader: DatasetReader, path: Path) -> list[int]:
    return [episode for episode in range(len(reader.metadata)) if reader.metadata.video_file_of(episode, LEFT) == path]


def rewrite_rows(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def test_a_missing_video_costs_its_episodes_and_is_counted(copied: Callable[[], Made]) -> None:
    dataset = copied()
    reader = DatasetReader(dataset.root, dataset.config, Preprocessing(32, 32))
    path = reader.metadata.video_file_of(0, LEFT)
    lost = episodes_of(reader, path)
    path.unlink()
    stream = ClipStream(Mixture([Source(reader, True)], REQUEST, LABELLED), batch=8)
    batches = list(islice(stream, 12))
    skipped = [skip for batch in batches for skip in batch.skipped]
    assert skipped
    assert {skip.episode for skip in skipped} <= set(lost)
    assert all("cannot be opened" in skip.reason and path.name in skip.reason for skip in skipped)
    through_left = [int(e) for b in batches for e, v in zip(b.episode, b.viewpoint, strict=True) if v == "left"]
    assert through_left
    assert not set(through_left) & set(lost)


def test_a_truncated_video_is_refused(copied: Callable[[], Made]) -> None:
    dataset = copied()
    reader = DatasetReader(dataset.root, dataset.config)
    path = reader.metadata.video_file_of(0, LEFT)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(EpisodeError, match=path.name):
        reader.frames(episodes_of(reader, path)[-1], np.arange(10), "left")


def test_damaged_bytes_are_an_error_or_change_nothing(copied: Callable[[], Made]) -> None:
    """A decoder may conceal damage; whatever it gives without an error must be the true picture, but for a few frames it cannot judge."""
    dataset = copied()
    good = DatasetReader(dataset.root, dataset.config)
    path = good.metadata.video_file_of(0, LEFT)
    victims = episodes_of(good, path)
    before = {episode: good.frames(episode, np.arange(LENGTHS[episode]), "left") for episode in victims}
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 4000] = bytes(4000)
    path.write_bytes(bytes(raw))
    reader = DatasetReader(dataset.root, dataset.config)
    refused = wrong = 0
    for episode, true in before.items():
        for row in range(LENGTHS[episode]):
            try:
                frame = reader.frames(episode, np.array([row]), "left")[0]
            except EpisodeError:
                refused += 1
                continue
            wrong += int(not np.array_equal(frame, true[row]))
    assert refused > 0
    assert wrong == 0


def test_a_video_with_fewer_frames_than_rows_is_refused(tmp_path: Path) -> None:
    """As a streaming encoder leaves it that drops a frame and keeps its row: every later frame would be out of place."""
    short, long = tmp_path / "short", tmp_path / "long"
    camera = {LEFT: (64, 96)}
    write(short, [noise_episode(0, 29, camera), noise_episode(1, 20, camera)])
    write(long, [noise_episode(0, 30, camera), noise_episode(1, 20, camera)])
    video = next((long / "videos").glob("**/*.mp4"))
    video.write_bytes(next((short / "videos").glob("**/*.mp4")).read_bytes())
    reader = DatasetReader(long, DatasetConfig("noise", FPS, {"left": LEFT}, action_mapping()))
    for episode in (0, 1):
        with pytest.raises(EpisodeError, match="lacks frames; got: 49; allowed: 50"):
            reader.frames(episode, np.arange(5), "left")


def test_actions_that_are_not_numbers_cost_their_episode(copied: Callable[[], Made]) -> None:
    dataset = copied()
    reader = DatasetReader(dataset.root, dataset.config)

    def spoil(table: pa.Table) -> pa.Table:
        values = np.array(table["action"].to_pylist(), dtype=np.float32)
        values[3] = np.nan
        index = table.column_names.index("action")
        return table.set_column(index, "action", pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 7))

    rewrite_rows(reader.metadata.data_file_of(0), spoil)
    reader = DatasetReader(dataset.root, dataset.config)
    with pytest.raises(EpisodeError, match="row 3 of action"):
        reader.clip(0, 0, REQUEST, "wrist")
    assert reader.clip(0, 10, REQUEST, "wrist").action_mask.all()


@pytest.mark.parametrize(("first_rows", "others"), [((), 6), ((), 8), ((6, 8), 7)], ids=["narrow", "wide", "ragged"])
def test_rows_of_another_width_than_is_told_cost_their_episodes(
    copied: Callable[[], Made], first_rows: tuple[int, ...], others: int
) -> None:
    """meta/info.json tells 7. Of wider rows a part would be taken; a row of 6 and one of 8 would put later numbers out of place."""
    dataset = copied()
    path = DatasetReader(dataset.root, dataset.config).metadata.data_file_of(0)

    def rewritten(table: pa.Table) -> pa.Table:
        widths = [*first_rows, *[others] * (len(table) - len(first_rows))]
        rows = pa.array([np.full(width, 0.01, dtype=np.float32) for width in widths], pa.list_(pa.float32()))
        return table.set_column(table.column_names.index("action"), "action", rows)

    rewrite_rows(path, rewritten)
    reader = DatasetReader(dataset.root, dataset.config, Preprocessing(32, 32))
    lost = {episode for episode in range(len(reader.metadata)) if reader.metadata.data_file_of(episode) == path}
    mixture = Mixture([Source(reader, True)], REQUEST, LABELLED)
    drawn = [mixture.draw(k) for k in range(40)]
    skipped = [skip for one in drawn for skip in one.skipped]
    assert skipped
    assert {skip.episode for skip in skipped} <= lost
    assert all("column action" in skip.reason for skip in skipped)
    assert not {one.clip.episode for one in drawn} & lost


def test_a_table_without_a_column_that_is_told_costs_its_episodes(copied: Callable[[], Made]) -> None:
    dataset = copied()
    rewrite_rows(DatasetReader(dataset.root, dataset.config).metadata.data_file_of(0), lambda table: table.drop_columns(["action"]))
    with pytest.raises(EpisodeError, match="without action"):
        DatasetReader(dataset.root, dataset.config).clip(0, 0, REQUEST, "wrist")


def test_rows_of_another_episode_are_refused(copied: Callable[[], Made]) -> None:
    dataset = copied()
    reader = DatasetReader(dataset.root, dataset.config)
    rewrite_rows(reader.metadata.data_file_of(0), lambda table: table.slice(1))
    with pytest.raises(EpisodeError, match=r"does not hold the rows|ends too early"):
        DatasetReader(dataset.root, dataset.config).clip(0, 0, REQUEST, "wrist")


def test_a_broken_table_is_refused(copied: Callable[[], Made]) -> None:
    dataset = copied()
    reader = DatasetReader(dataset.root, dataset.config)
    path = reader.metadata.data_file_of(0)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(EpisodeError, match="table cannot be read"):
        reader.clip(0, 0, REQUEST, "wrist")


def test_a_dataset_of_which_nothing_can_be_read_stops_training(copied: Callable[[], Made]) -> None:
    dataset = copied()
    for path in dataset.root.glob("videos/**/*.mp4"):
        path.write_bytes(b"nothing")
    reader = DatasetReader(dataset.root, dataset.config)
    with pytest.raises(DatasetError, match="clips of noise in a row could not be read"):
        Mixture([Source(reader, True)], REQUEST, LABELLED).draw(0)


def test_numbers_that_are_none_never_reach_a_disk(tmp_path: Path) -> None:
    good = noise_episode(0, 12)
    spoiled = good.columns["action"].copy()
    spoiled[5, 1] = np.nan
    stamps = good.stamps.copy()
    stamps[4] = stamps[3]
    for bad, message in [
        (replace(good, columns=dict(good.columns) | {"action": spoiled}), "row 5"),
        (replace(good, stamps=stamps), "stamps do not grow"),
        (replace(good, images=dict(good.images) | {LEFT: good.images[LEFT][:-1]}), "pictures of"),
        (replace(good, columns=dict(good.columns) | {"action": good.columns["action"][:, :6]}), "not laid out as its dataset"),
    ]:
        with pytest.raises(EpisodeError, match=message):
            write(tmp_path / "set", [good, bad])
        assert not list(tmp_path.iterdir()), "an incomplete dataset was left behind"
