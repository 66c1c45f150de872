"""Protects v2.1 datasets: converted offline they read as they were, and the original stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise_datasets import FPS, Made, action_mapping, noise_episode

from wm_core.data.convert import convert
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.episode import Episode
from wm_core.data.errors import DatasetError
from wm_core.data.reader import DatasetReader

LEFT = "observation.images.left"
ROWS = (12, 9, 15)


def write_video(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=FPS, options={"crf": "10", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def stats(values: np.ndarray) -> dict[str, list[float]]:
    flat = values.reshape(len(values), -1).astype(float)
    found = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0)}
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(values)]}


def write_v21(root: Path, episodes: list[Episode]) -> None:
    """By hand, from the description of the format: one table and one video per episode, lines of JSON."""
    first = 0
    lines: dict[str, list[dict]] = {"episodes": [], "episodes_stats": [], "tasks": [{"task_index": 0, "task": "push"}]}
    for index, episode in enumerate(episodes):
        rows = len(episode)
        columns = {key: episode.columns[key].astype(np.float32) for key in ("action", "observation.state")}
        table = {key: pa.array(list(values)) for key, values in columns.items()}
        whole = {"frame_index": np.arange(rows), "episode_index": np.full(rows, index), "index": first + np.arange(rows)}
        whole |= {"task_index": np.zeros(rows, dtype=int), "timestamp": (np.arange(rows) / FPS).astype(np.float32)}
        path = root / f"data/chunk-000/episode_{index:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table | {key: pa.array(values) for key, values in whole.items()}), path)
        write_video(root / f"videos/chunk-000/{LEFT}/episode_{index:06d}.mp4", episode.images[LEFT])
        lines["episodes"].append({"episode_index": index, "tasks": ["push"], "length": rows})
        picture = {key: [[[value]] * 1 for value in (0.5, 0.5, 0.5)] for key in ("min", "max", "mean", "std")} | {"count": [rows]}
        known = {key: stats(values) for key, values in (columns | whole).items()} | {LEFT: picture}
        lines["episodes_stats"].append({"episode_index": index, "stats": known})
        first += rows
    (root / "meta").mkdir(parents=True)
    for name, entries in lines.items():
        (root / "meta" / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    features = {key: {"dtype": "float32", "shape": [episodes[0].columns[key].shape[1]], "names": None} for key in columns}
    features |= {key: {"dtype": "int64", "shape": [1], "names": None} for key in whole if key != "timestamp"}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    height, width = episodes[0].images[LEFT].shape[1:3]
    words = {"video.fps": FPS, "video.is_depth_map": "false", "has_audio": "false"}
    features[LEFT] = {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channel"], "info": words}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "noise",
        "total_episodes": len(episodes),
        "total_frames": first,
        "total_tasks": 1,
        "total_videos": len(episodes),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_converted_dataset_reads_as_it_was(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    episodes = [noise_episode(50 + index, rows, {LEFT: (64, 96)}) for index, rows in enumerate(ROWS)]
    write_v21(old, episodes)
    before = files(old)
    convert(old, new)
    assert files(old) == before, "the original was changed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]
    reader = DatasetReader(new, DatasetConfig("old", FPS, {"left": LEFT}, action_mapping(), ("observation.state",)))
    assert reader.metadata.length.tolist() == list(ROWS)
    for index, episode in enumerate(episodes):
        acts, known = reader.actions(index, np.arange(ROWS[index] + 1))
        assert known.all()
        assert np.allclose(acts, episode.columns["action"], atol=1e-6)
        pictures = reader.frames(index, np.arange(ROWS[index]), "left").transpose(0, 2, 3, 1).astype(np.float32)
        distance = np.abs(pictures[:, None] - episode.images[LEFT][None].astype(np.float32)).mean(axis=(2, 3, 4))
        assert np.array_equal(distance.argmin(axis=1), np.arange(ROWS[index]))


def test_what_is_not_v21_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"not a v2.1 dataset; got: v3.0"):
        convert(made.root, tmp_path / "new")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DatasetError, match="something at the place"):
        convert(made.root, tmp_path)
