"""Protects what a dataset is believed to be: words that mean booleans, depth that is not colour, versions, and self-contradiction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise_datasets import CONFIG, LENGTHS, Made

from wm_core import configuration
from wm_core.data import metadata
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError
from wm_core.data.reader import DatasetReader

LEFT = "observation.images.left"


def change_info(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / "meta" / "info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def change_episodes(root: Path, key: str, episode: int, value: float) -> None:
    (path,) = (root / "meta" / "episodes").glob("*/*.parquet")
    table = pq.read_table(path)
    column = table[key].to_pylist()
    column[episode] = type(column[episode])(value)
    index = table.column_names.index(key)
    pq.write_table(table.set_column(index, key, pa.array(column, table.schema.field(key).type)), path)


def test_lengths_and_places_are_read(made: Made) -> None:
    meta = metadata.load(made.root)
    assert meta.length.tolist() == list(LENGTHS)
    assert meta.fps == 10.0
    assert sorted(meta.cameras()) == [LEFT, "observation.images.wrist"]
    assert not meta.faults(meta.cameras())


@pytest.mark.parametrize("place", ["info", "video_info"])
@pytest.mark.parametrize(("word", "depth"), [("false", False), ("False", False), ("true", True), (True, True), (False, False)])
def test_a_depth_mark_in_words_means_what_it_says(copied: Callable[[], Made], place: str, word: object, depth: bool) -> None:
    dataset = copied()
    change_info(dataset.root, lambda info: info["features"][LEFT].update({"info": None, place: {"video.is_depth_map": word}}))
    assert (LEFT not in metadata.load(dataset.root).cameras()) == depth


def test_words_elsewhere_stay_words() -> None:
    assert metadata.normalised({"a": ["true story", "TRUE"], "b": {"c": "false"}}) == {"a": ["true story", True], "b": {"c": False}}


def test_an_episode_whose_video_lasts_another_time_is_a_fault_of_its_own(copied: Callable[[], Made]) -> None:
    dataset = copied()
    change_episodes(dataset.root, f"videos/{LEFT}/to_timestamp", 4, 1.0)
    reader = DatasetReader(dataset.root, dataset.config)
    assert list(reader.faults) == [4]
    assert 4 not in reader.episodes
    assert len(reader.episodes) == len(LENGTHS) - 1


def test_rows_that_contradict_their_places_are_refused(copied: Callable[[], Made]) -> None:
    dataset = copied()
    change_episodes(dataset.root, "length", 2, 17)
    with pytest.raises(DatasetError, match="contradicts itself at episode 2"):
        metadata.load(dataset.root)


def test_another_version_says_how_to_convert(copied: Callable[[], Made]) -> None:
    dataset = copied()
    change_info(dataset.root, lambda info: info.update(codebase_version="v2.1"))
    with pytest.raises(DatasetError, match=r"not LeRobot v3; got: v2.1; mend: convert"):
        metadata.load(dataset.root)


def test_what_is_no_dataset_is_refused(tmp_path: Path, copied: Callable[[], Made]) -> None:
    with pytest.raises(DatasetError, match="no LeRobot dataset"):
        metadata.load(tmp_path / "nowhere")
    dataset = copied()
    (dataset.root / "meta" / "info.json").write_text("{")
    with pytest.raises(DatasetError, match="not valid JSON"):
        metadata.load(dataset.root)


def test_a_set_that_was_not_finalized_is_refused(copied: Callable[[], Made]) -> None:
    dataset = copied()
    for path in (dataset.root / "meta" / "episodes").glob("*/*.parquet"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="meta/episodes"):
        metadata.load(dataset.root)


def test_the_fingerprint_changes_with_the_files(copied: Callable[[], Made], made: Made) -> None:
    dataset = copied()
    before = metadata.load(made.root).fingerprint
    assert metadata.load(dataset.root).fingerprint == before, "a copy is the same dataset"
    change_episodes(dataset.root, f"videos/{LEFT}/from_timestamp", 4, 0.5)
    assert metadata.load(dataset.root).fingerprint != before


@pytest.mark.parametrize("path", sorted((CONFIG / "datasets").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_descriptions_load(path: Path) -> None:
    config = configuration.read(DatasetConfig, path)
    assert config.name == path.stem
    assert config.cameras
