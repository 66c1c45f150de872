"""What a LeRobot v3 dataset says of itself, read without the `lerobot` package and put right where it is known to be written wrongly.

pyarrow is imported where a table is read: the recorder, which starts in a second, needs none.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wm_core.data.errors import DatasetError
from wm_core.errors import nearest

if TYPE_CHECKING:
    import pyarrow as pa

Whole = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class VideoPlaces:
    """For every episode: the file its video is in, as chunk and file index, and from when to when, s."""

    chunk: Whole
    file: Whole
    start: Numbers
    end: Numbers


@dataclass(frozen=True)
class Metadata:
    """A dataset's rate, columns and episodes. Row r of episode e is row `first[e] + r` of the whole dataset."""

    root: Path
    fps: float
    robot: str
    features: dict[str, dict[str, Any]]
    length: Whole
    first: Whole
    data_chunk: Whole
    data_file: Whole
    videos: dict[str, VideoPlaces]
    tasks: tuple[str, ...]  # of each episode; the first one where it has several
    data_path: str
    video_path: str

    def __len__(self) -> int:
        return len(self.length)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve letters that differ when the episodes or the size of any file do."""
        digest = blake2b(digest_size=6)
        for array in (self.length, self.first, *(places.start for places in self.videos.values())):
            digest.update(array.tobytes())
        for path in sorted(self.root.glob("videos/**/*.mp4")) + sorted(self.root.glob("data/**/*.parquet")):
            digest.update(f"{path.relative_to(self.root)} {path.stat().st_size}".encode())
        return digest.hexdigest()

    def width(self, key: str) -> int:
        """How many numbers a column holds."""
        return int(np.prod(self.feature(key)["shape"], dtype=np.int64))

    def feature(self, key: str) -> dict[str, Any]:
        if key not in self.features:
            mend = "correct the dataset's YAML in config/datasets"
            raise DatasetError(f"the dataset at {self.root} has no column", got=key, allowed=nearest(key, self.features), mend=mend)
        return self.features[key]

    def camera(self, key: str) -> VideoPlaces:
        """Where the pictures of a camera are; depth and single pictures are not cameras."""
        dtype = self.feature(key)["dtype"]
        if dtype != "video" or is_depth(self.feature(key)) or key not in self.videos:
            raise DatasetError(f"{key} at {self.root} is not a video in colour", got=dtype, allowed=f"one of {sorted(self.cameras())}")
        return self.videos[key]

    def cameras(self) -> list[str]:
        return [key for key, feature in self.features.items() if feature["dtype"] == "video" and not is_depth(feature)]

    def data_file_of(self, episode: int) -> Path:
        return self.root / self.data_path.format(chunk_index=self.data_chunk[episode], file_index=self.data_file[episode])

    def first_row_of_file(self, episode: int) -> int:
        same = (self.data_chunk == self.data_chunk[episode]) & (self.data_file == self.data_file[episode])
        return int(self.first[same].min())

    def video_file_of(self, episode: int, key: str) -> Path:
        places = self.camera(key)
        return self.root / self.video_path.format(video_key=key, chunk_index=places.chunk[episode], file_index=places.file[episode])

    def faults(self, cameras: list[str]) -> dict[int, str]:
        """Episodes that contradict themselves, before any file is opened, each with a reason."""
        found: dict[int, str] = {}
        for episode in np.flatnonzero(self.length <= 0):
            found[int(episode)] = "an episode without rows"
        for key in cameras:
            places = self.camera(key)
            frames = (places.end - places.start) * self.fps
            for episode in np.flatnonzero(~(np.abs(frames - self.length) < 0.5)):
                found.setdefault(int(episode), "another number of frames than of rows")
        return found


def is_depth(feature: dict[str, Any]) -> bool:
    """Whether a video holds distances; the mark has stood in three places."""
    info = (feature.get("info") or {}) | (feature.get("video_info") or {})
    return bool(info.get("is_depth_map") or info.get("video.is_depth_map") or feature.get("video.is_depth_map"))


def load(root: Path) -> Metadata:
    """Read meta/ of the dataset at `root`."""
    info = read_info(root)
    table = _read_episodes(root)
    features = info["features"]
    videos = {key: _video_places(table, key) for key, feature in features.items() if f"videos/{key}/file_index" in table.column_names}
    tasks = [(names or [""])[0] for names in table["tasks"].to_pylist()] if "tasks" in table.column_names else [""] * len(table)
    first, last = _whole(table, "dataset_from_index"), _whole(table, "dataset_to_index")
    length = _whole(table, "length")
    if np.any(last - first != length):
        wrong = int(np.flatnonzero(last - first != length)[0])
        raise DatasetError(
            f"meta/episodes of {root} contradicts itself at episode {wrong}",
            got=f"{length[wrong]} rows",
            allowed=str(last[wrong] - first[wrong]),
        )
    return Metadata(
        root=root,
        fps=float(info["fps"]),
        robot=str(info.get("robot_type") or ""),
        features=features,
        length=length,
        first=first,
        data_chunk=_whole(table, "data/chunk_index"),
        data_file=_whole(table, "data/file_index"),
        videos=videos,
        tasks=tuple(tasks),
        data_path=info["data_path"],
        video_path=info.get("video_path") or "",
    )


def version_of(root: Path) -> str:
    """The version of the format, e.g. v2.1."""
    return str(_read_json(root).get("codebase_version", "unknown"))


def normalised(value: Any) -> Any:
    """JSON with booleans that were written as words made booleans again: "false" is true to whoever forgets this."""
    if isinstance(value, dict):
        return {key: normalised(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normalised(item) for item in value]
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return value


def _read_json(root: Path) -> dict[str, Any]:
    path = root / "meta" / "info.json"
    try:
        info = normalised(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DatasetError(f"no LeRobot dataset at {root}", got=error, allowed="a folder with meta/info.json") from error
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON", got=error) from error
    if not isinstance(info, dict):
        raise DatasetError(f"{path} holds no keys", got=type(info).__name__)
    return info


def episode_count(root: Path) -> int:
    """As meta/info.json tells it, which every writer of LeRobot v3 keeps; without opening a table."""
    told = read_info(root).get("total_episodes")
    return len(load(root)) if told is None else int(told)


def read_info(root: Path) -> dict[str, Any]:
    """meta/info.json of the dataset at `root`: its rate, robot and columns."""
    path = root / "meta" / "info.json"
    info = _read_json(root)
    version = str(info.get("codebase_version", "unknown"))
    if not version.startswith("v3"):
        raise DatasetError(f"the dataset at {root} is not LeRobot v3", got=version, mend="convert it with wm_core.data.convert")
    missing = [key for key in ("fps", "features", "data_path") if key not in info]
    if missing:
        raise DatasetError(f"{path} is incomplete", got=f"without {', '.join(missing)}")
    return info


def _read_episodes(root: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise DatasetError(f"the dataset at {root} has no episodes", allowed="meta/episodes/*/*.parquet", mend="was it finalized?")
    try:
        with ExitStack() as stack:
            # Each opened once: of a dataset that grows meanwhile, two looks at one path may see two files.
            opened = [pq.ParquetFile(stack.enter_context(file.open("rb"))) for file in files]
            wanted = [name for name in opened[0].schema_arrow.names if not name.startswith("stats/")]
            table = pa.concat_tables([file.read(columns=wanted) for file in opened], promote_options="permissive")
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DatasetError(f"meta/episodes of {root} cannot be read", got=str(error).splitlines()[0]) from error
    table = table.sort_by("episode_index")
    if not np.array_equal(table["episode_index"].to_numpy(), np.arange(len(table))):
        raise DatasetError(f"the episodes of {root} are not numbered 0, 1, 2, ...", got=f"{len(table)} episodes")
    return table


def _video_places(table: pa.Table, key: str) -> VideoPlaces:
    chunk, file = _whole(table, f"videos/{key}/chunk_index"), _whole(table, f"videos/{key}/file_index")
    start, end = (table[f"videos/{key}/{name}"].to_numpy().astype(np.float64) for name in ("from_timestamp", "to_timestamp"))
    return VideoPlaces(chunk, file, start, end)


def _whole(table: pa.Table, key: str) -> Whole:
    """A column of whole numbers; -1 where one is missing."""
    return np.array([-1 if value is None else int(value) for value in table[key].to_pylist()], dtype=np.int64)
