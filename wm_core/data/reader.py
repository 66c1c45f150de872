"""Reading LeRobot v3 datasets at random, frame by frame exactly, without the `lerobot` package."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.data import actions, metadata
from wm_core.data.clip import Clip, ClipRequest, Preprocessing
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.lerobot_writer import VALID
from wm_core.data.table import Table
from wm_core.data.video_file import VideoFiles
from wm_core.errors import nearest

EPISODES_KEPT = 256


class DatasetReader:
    """Clips of one dataset. It may be copied into worker processes; each opens its own files.

    Episodes that contradict themselves are left out from the start and listed in `faults`; what is found wrong only when it is read is an
    EpisodeError, which costs that episode and no other.
    """

    def __init__(self, root: Path, config: DatasetConfig, preprocessing: Preprocessing | None = None) -> None:
        self.root, self.config = root, config
        self.preprocessing = preprocessing or Preprocessing()
        self.metadata = metadata.load(root)
        self._check()
        self.faults = self.metadata.faults(list(config.cameras.values()))
        keys = [*config.state, *config.scene, *([VALID] if VALID in self.metadata.features else [])]
        if config.action is not None:
            keys += [part.key for part in config.action.parts()]
        self._table = Table(self.metadata, keys)
        self._columns: OrderedDict[int, dict[str, NDArray[Any]]] = OrderedDict()
        self._videos = VideoFiles()
        self._ends: dict[tuple[Path, str], float] = {}

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def episodes(self) -> NDArray[np.int64]:
        """The episodes that can be read, as far as is known."""
        return np.array([episode for episode in range(len(self.metadata)) if episode not in self.faults], dtype=np.int64)

    def start_count(self, request: ClipRequest) -> NDArray[np.int64]:
        """For every episode of the dataset, at how many rows a clip may begin; 0 for faulty ones."""
        counts = np.maximum(self.metadata.length - request.span(self.metadata.fps) + 1, 0)
        counts[list(self.faults)] = 0
        return counts

    def clip(self, episode: int, start: int, request: ClipRequest, role: str) -> Clip:
        """The clip that begins at row `start` of an episode, seen by the camera of that role."""
        rows = request.rows(start, self.metadata.fps)
        columns = self.columns(episode)
        self._require_alive(episode, rows[:-1], [self._camera(role), *self.config.state])
        frames = self.frames(episode, rows[:-1], role)
        acts, mask = self.actions(episode, rows)
        states = [columns[key][rows[:-1]].astype(np.float32) for key in self.config.state]
        state = np.concatenate(states, axis=1) if states else np.zeros((len(rows) - 1, 0), dtype=np.float32)
        if not np.isfinite(state).all():
            raise EpisodeError("a state is not a number", got=f"{self.name}, episode {episode}, near row {start}")
        scene = self.scene(episode)
        return Clip(frames, acts, mask, state, rows[:-1], self.name, episode, role, scene, self.metadata.tasks[episode])

    def frames(self, episode: int, rows: NDArray[np.int64], role: str) -> NDArray[np.uint8]:
        """The pictures (T, 3, H, W) of one camera at growing rows of an episode."""
        key = self._camera(role)
        length = int(self.metadata.length[episode])
        if len(rows) == 0 or rows[0] < 0 or rows[-1] >= length:
            raise EpisodeError(f"episode {episode} of {self.name} does not reach that far", got=rows.tolist(), allowed=f"0 .. {length - 1}")
        path = self.metadata.video_file_of(episode, key)
        video = self._videos[path]
        self._check_video(path, key, episode, video.frame_count)
        begin = float(self.metadata.camera(key).start[episode])
        times = begin + self.columns(episode)["timestamp"][rows, 0].astype(np.float64)
        pictures = self.preprocessing.apply(video.frames(times.tolist(), 1.0 / self.metadata.fps))
        return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))

    def columns(self, episode: int) -> dict[str, NDArray[Any]]:
        """The columns that the configuration names, of one whole episode."""
        if episode not in self._columns:
            while len(self._columns) >= EPISODES_KEPT:
                self._columns.popitem(last=False)
            self._columns[episode] = self._table.episode(episode)
        self._columns.move_to_end(episode)
        return self._columns[episode]

    def scene(self, episode: int) -> str:
        """The place an episode was recorded in, in the words of its dataset; empty where it tells none."""
        columns = self.columns(episode) if self.config.scene else {}
        return " / ".join(str(np.ravel(columns[key])[0]) for key in self.config.scene)

    def actions(self, episode: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The actions (T, 7) from each of `rows` (T + 1,) of an episode to the next, and which of them are known (T,)."""
        count, columns = len(rows) - 1, self.columns(episode)
        mapping = self.config.action
        if mapping is None:
            return np.zeros((count, 7), dtype=np.float32), np.zeros(count, dtype=np.bool_)
        acts, known = actions.between(mapping, columns, rows)
        for valid in self.alive(episode, [part.key for part in mapping.parts()]).values():
            for step in np.flatnonzero(known):
                known[step] = bool(valid[rows[step] : max(rows[step + 1], rows[step] + 1)].all())
        return np.where(known[:, None], acts, np.float32(0.0)), known

    def alive(self, episode: int, keys: Iterable[str]) -> dict[str, NDArray[np.bool_]]:
        """In which rows (L,) what these columns show was there; without those of which the dataset does not tell it."""
        told = list(self.metadata.features[VALID]["names"]) if VALID in self.metadata.features else []
        return {key: self.columns(episode)[VALID][:, told.index(key)] > 0.5 for key in dict.fromkeys(keys) if key in told}

    def _require_alive(self, episode: int, rows: NDArray[np.int64], keys: Iterable[str]) -> None:
        """A camera that was silent shows its last picture for ever, and a model would learn that nothing moves."""
        for key, valid in self.alive(episode, keys).items():
            inside = rows[(rows >= 0) & (rows < len(valid))]
            if not valid[inside].all():
                got = f"{self.name}, episode {episode}, near row {int(inside[~valid[inside]][0])}"
                raise EpisodeError(f"{key} was silent", got=got)

    def _check(self) -> None:
        config, meta = self.config, self.metadata
        if abs(meta.fps - config.fps) > 1e-3:
            mend = "correct fps in the dataset's YAML"
            raise DatasetError(
                f"{meta.root} has another rate than its description", got=f"{meta.fps:g} Hz", allowed=f"{config.fps:g} Hz", mend=mend
            )
        for key in config.cameras.values():
            meta.camera(key)
        if config.action is not None:
            actions.check(config.action, meta)

    def _check_video(self, path: Path, key: str, episode: int, frames: int) -> None:
        """A file with fewer frames than its episodes have rows: some were dropped, and every later one is out of place."""
        if (path, key) not in self._ends:
            places = self.metadata.camera(key)
            same = (places.chunk == places.chunk[episode]) & (places.file == places.file[episode])
            self._ends[path, key] = float(places.end[same].max())
        expected = self._ends[path, key] * self.metadata.fps
        if frames and frames < expected - 0.5:
            raise EpisodeError(f"{path.name} of {key} lacks frames", got=frames, allowed=str(round(expected)))

    def _camera(self, role: str) -> str:
        if role not in self.config.cameras:
            raise DatasetError(f"{self.name} has no camera of that role", got=role, allowed=nearest(role, self.config.cameras))
        return self.config.cameras[role]
