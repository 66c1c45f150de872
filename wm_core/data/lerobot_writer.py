"""Writing LeRobot v3 datasets through the `lerobot` package, whole or not at all.

The set grows in a folder beside its place and is moved there when it is complete, so whatever stands at `root` can be read: the package
loses every episode since its last `finalize()` when it is killed. Importing it takes ten seconds, so it is imported when first needed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Full
from types import TracebackType
from typing import Any

import numpy as np

from wm_core.configuration import setting
from wm_core.data.episode import Episode, Frames
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.storage import writing

STATISTICS_SIDE = 48  # pixels, of the longer side of what pictures of twice that and more are thinned to for their statistics
STAMP, AGE, VALID = "stamp", "age", "valid"


@dataclass(frozen=True)
class VideoSettings:
    """How pictures become video."""

    codec: str = setting("Codec of the videos", choices=("h264", "hevc", "libsvtav1"))
    quality: int = setting("Constant rate factor: smaller is closer to the pictures, and larger on disk", low=0, high=51)
    chroma: str = setting("Pixel format; yuv420p keeps colour at half the resolution", choices=("yuv420p", "yuv444p"))
    key_frame_every: int = setting("Frames between key frames; reading at random is fastest with few", low=1, high=300)
    file_size: float = setting("A video or table file is closed at this size", unit="MB", low=0.01, high=2000.0)
    preset: str = setting(
        "How long h264 and hevc search: fast presets make larger files",
        choices=("ultrafast", "veryfast", "fast", "medium", "slow"),
        default="medium",
    )


@dataclass(frozen=True)
class Layout:
    """What every row of a dataset holds: cameras with height and width, and columns with the names of their numbers."""

    fps: int
    robot: str
    cameras: Mapping[str, tuple[int, int]]
    columns: Mapping[str, Sequence[str]]

    def streams(self) -> list[str]:
        """What has an age and a validity in every row."""
        return [*self.cameras, *self.columns]

    def features(self) -> dict[str, dict[str, Any]]:
        """In the words of LeRobot."""
        axes = ["height", "width", "channels"]
        features: dict[str, dict[str, Any]] = {
            name: {"dtype": "video", "shape": (*size, 3), "names": axes} for name, size in self.cameras.items()
        }
        for name, parts in self.columns.items():
            features[name] = {"dtype": "float32", "shape": (len(parts),), "names": list(parts)}
        features[STAMP] = {"dtype": "float64", "shape": (1,), "names": None}
        for mark in (AGE, VALID):
            features[mark] = {"dtype": "float32", "shape": (len(self.streams()),), "names": self.streams()}
        return features


class DatasetWriter:
    """Appends episodes to a new set; use it with `with`. Leaving the block completes the set, an error on the way leaves nothing behind."""

    def __init__(self, root: Path, layout: Layout, video: VideoSettings) -> None:
        if root.exists():
            raise DatasetError("there is something at the place of the new dataset", got=root, mend="remove it, or give another place")
        self.root, self._layout = root, layout
        self._growing = root.with_name(f".{root.name}.{os.getpid()}.growing")
        with writing(root):
            self._growing.parent.mkdir(parents=True, exist_ok=True)
            self._dataset = created(self._growing, layout, video)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with writing(self.root):
                self._dataset.finalize()
            if error is None:
                self._growing.rename(self.root)
        except Exception:
            if error is None:  # else what went wrong before is told
                raise
        finally:
            shutil.rmtree(self._growing, ignore_errors=True)

    def write(self, episode: Episode) -> None:
        """Check, append and encode one episode."""
        with writing(self.root):
            append(self._dataset, episode, self._layout)


def created(folder: Path, layout: Layout, video: VideoSettings) -> Any:
    """A new LeRobotDataset in `folder`, as the package knows it."""
    dataset = _package().create(
        repo_id=f"local/{folder.name}",
        fps=layout.fps,
        features=layout.features(),
        root=folder,
        robot_type=layout.robot,
        rgb_encoder=_encoder(video),
        encoder_threads=1,
        streaming_encoding=True,
        video_backend="pyav",  # else the package looks for torchcodec's libraries, at length
        video_files_size_in_mb=video.file_size,
        data_files_size_in_mb=video.file_size,
    )
    return _patient(dataset)


def resumed(folder: Path, video: VideoSettings) -> Any:
    """The LeRobotDataset in `folder`, to append to; what it holds stays in its own files."""
    return _patient(
        _package().resume(
            f"local/{folder.name}",
            root=folder,
            rgb_encoder=_encoder(video),
            encoder_threads=1,
            streaming_encoding=True,
            video_backend="pyav",
        )
    )


def append(dataset: Any, episode: Episode, layout: Layout) -> None:
    """Check and encode one episode; it counts when the dataset is finalized."""
    episode.check()
    _compare(episode, layout)
    for row in _rows(episode, layout):
        dataset.add_frame(row)
    dataset.save_episode(parallel_encoding=False)
    _count_frames(dataset, layout, len(episode))


def _patient(dataset: Any) -> Any:
    """A thread per camera encodes while rows are added. The package copies frames and drops one that finds the queue full; this waits."""
    encoder = dataset.writer._streaming_encoder
    if encoder is None:  # without cameras
        return dataset

    def feed(camera: str, picture: Frames) -> None:
        while True:
            if not encoder._threads[camera].is_alive():
                raise EpisodeError(f"the pictures of {camera} could not be encoded", got=encoder._result_queues[camera].get()[1])
            try:
                return encoder._frame_queues[camera].put(picture, timeout=1.0)
            except Full:
                continue

    encoder.feed_frame = feed
    return dataset


def _package() -> Any:
    """The package's class of datasets, without bars and messages, and with statistics that large pictures can afford.

    Those of 160 x 120 pixels of every picture cost as much as its codec; those of a tenth of them say the same.
    """
    import av.logging
    import datasets
    from lerobot.datasets import LeRobotDataset, compute_stats

    av.logging.set_libav_level(av.logging.ERROR)
    datasets.disable_progress_bars()
    if not isinstance(compute_stats.auto_downsample_height_width, partial):
        thin = partial(compute_stats.auto_downsample_height_width, target_size=STATISTICS_SIDE, max_size_threshold=2 * STATISTICS_SIDE)
        compute_stats.auto_downsample_height_width = thin
    return LeRobotDataset


def _encoder(video: VideoSettings) -> Any:
    from lerobot.configs import RGBEncoderConfig

    preset = video.preset if video.codec in ("h264", "hevc") else None
    return RGBEncoderConfig(vcodec=video.codec, crf=video.quality, pix_fmt=video.chroma, g=video.key_frame_every, preset=preset)


def _compare(episode: Episode, layout: Layout) -> None:
    sizes = {name: tuple(picture.shape[1:3]) for name, picture in episode.images.items()}
    widths = {name: column.shape[1] for name, column in episode.columns.items()}
    expected = {name: len(parts) for name, parts in layout.columns.items()}
    if sizes != {name: tuple(size) for name, size in layout.cameras.items()} or widths != expected:
        raise EpisodeError(
            "the episode is not laid out as its dataset", got=f"{sizes}, {widths}", allowed=f"{dict(layout.cameras)}, {expected}"
        )


def _rows(episode: Episode, layout: Layout) -> Iterator[dict[str, Any]]:
    streams, rows = layout.streams(), len(episode)
    ages = np.stack([episode.ages.get(name, np.zeros(rows)) for name in streams], axis=1).astype(np.float32)
    valid = np.stack([episode.valid.get(name, np.ones(rows)) for name in streams], axis=1).astype(np.float32)
    columns = {name: column.astype(np.float32) for name, column in episode.columns.items()}
    for row in range(rows):
        pictures = {name: pictures[row] for name, pictures in episode.images.items()}
        numbers = {name: column[row] for name, column in columns.items()}
        yield pictures | numbers | {STAMP: episode.stamps[row : row + 1], AGE: ages[row], VALID: valid[row], "task": episode.task}


def _count_frames(dataset: Any, layout: Layout, rows: int) -> None:
    """The package has been seen to drop frames and keep the rows; an episode counts only when both agree."""
    latest = dataset.meta.latest_episode
    for name in layout.cameras:
        seconds = latest[f"videos/{name}/to_timestamp"][0] - latest[f"videos/{name}/from_timestamp"][0]
        frames = round(seconds * layout.fps)
        if frames != rows:
            raise DatasetError(f"the video of {name} and its rows disagree", got=f"{frames} frames", allowed=f"{rows} rows")
