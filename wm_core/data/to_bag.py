"""An episode of a recorded dataset as a bag, of which `wm dataset from-bag` makes the same rows.

A message is written at the time that its age tells, once for all rows that show it, and never where a row has nothing valid: a stream that
was dead is dead in the bag. The guard's words are the exception, for a row holds what lies between two of them: they are written at the
row's own time, and come back with age 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from wm_core.data import metadata
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError
from wm_core.data.heard import Heard
from wm_core.data.lerobot_writer import AGE, STAMP, VALID
from wm_core.data.message_types import definition, encoded, typestore
from wm_core.data.reader import DatasetReader
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, JOINTS, REQUESTED, TOOL_POSE, TYPES, Contract, StreamConfig
from wm_core.data.recording_layout import ACTION, ASKED, GUARDED, STATE, TOLD
from wm_core.robot import rotation
from wm_core.robot.inverse_kinematics import solve_pose
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.proprioception import TOOL_NAMES, pose_of_row
from wm_core.robot.rotation import Array
from wm_core.robot.urdf import read_chain

GIGA = 1e9
SAME = 1e-4  # s: stamps that differ by less are of one message; ages are kept with seven digits
AFTER = 0.5  # share of a row, after the last one is due, at which a picture is shown by no row
Timed = tuple[float, Any]
"""A stamp (s) and a message."""


class BagWriter:
    """Writes messages into an MCAP that every reader of ROS 2 bags opens; use it with `with`.

    The file takes its place when it is complete; an error on the way leaves nothing behind.
    """

    def __init__(self, path: Path, compression: CompressionType = CompressionType.ZSTD) -> None:
        if path.exists():
            raise DatasetError("there is something at the place of the new bag", got=path, mend="remove it, or give another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._growing = path, path.with_name(f".{path.name}.{os.getpid()}.growing")
        self._file: IO[bytes] = self._growing.open("wb")
        self._writer = Writer(self._file, compression=compression)
        self._writer.start(profile="ros2", library="wm_ros")
        self._channels: dict[str, int] = {}

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with self._file:
                if error is None:
                    self._writer.finish()
            if error is None:
                self._growing.rename(self._path)
        finally:
            self._growing.unlink(missing_ok=True)

    def write(self, heard: Heard, stamp: float) -> None:
        """One message; times in s."""
        if heard.topic not in self._channels:
            schema = self._writer.register_schema(heard.kind, "ros2msg", definition(heard.kind).encode())
            self._channels[heard.topic] = self._writer.register_channel(heard.topic, "cdr", schema)
        self._writer.add_message(self._channels[heard.topic], round(heard.received * GIGA), heard.data, round(stamp * GIGA))


def to_bag(dataset: Path, index: int, contract: Contract, out: Path) -> int:
    """Write episode `index`; returns how many messages were written."""
    episode, count = _Episode(dataset, index, contract), 0
    with BagWriter(out) as writer:
        for row in range(len(episode.stamps)):
            for stream in contract.config.streams:
                kind = TYPES[stream.kind][0]
                for stamp, message in episode.said(stream, row):
                    writer.write(Heard(f"/{stream.topic}", kind, stamp, encoded(message, kind)), stamp)
                    count += 1
    return count


class _Episode:
    """One episode, read: `stamps` (T,) s, its columns, and for each stream when what a row shows was said, (T,) s, or NaN: not then."""

    def __init__(self, dataset: Path, index: int, contract: Contract) -> None:
        self._known, self._index, self._contract = metadata.load(dataset), index, contract
        if not 0 <= index < len(self._known):
            raise DatasetError(f"{dataset} has no such episode", got=index, allowed=f"0 .. {len(self._known) - 1}")
        if STAMP not in self._known.features:
            what = f"{dataset} does not tell when its rows were true"
            raise DatasetError(what, got=f"no column {STAMP}", allowed="a dataset that was recorded")
        cameras = {stream.name: f"observation.images.{stream.name}" for stream in contract.config.cameras}
        columns = [name for name in (STATE, TOLD, ACTION, ASKED, GUARDED, STAMP, AGE, VALID) if name in self._known.features]
        self._reader = DatasetReader(dataset, DatasetConfig(dataset.name, self._known.fps, cameras, None, tuple(columns)))
        self._rows = self._reader.columns(index)
        self.stamps = self._rows[STAMP].reshape(-1).astype(np.float64)
        self._kinematics = Kinematics(read_chain(contract.urdf, contract.base_link, contract.tool_link))
        self._check_robot()
        main = contract.config.cameras[0]
        self._begin = float(self._taken(main)[0])
        self._times = {stream.name: self._times_of(stream) for stream in contract.config.streams if self._holds(stream)}

    def said(self, stream: StreamConfig, row: int) -> Iterator[Timed]:
        """What a stream said for a row that it had not said for one before."""
        if stream.name not in self._times:
            return
        stamp, last = float(self._times[stream.name][row]), row == len(self.stamps) - 1
        if np.isfinite(stamp):
            if row == 0 and stamp > self._begin:
                yield self._begin, self._message(stream, row, self._begin)  # the first row begins when all streams have
            yield stamp, self._message(stream, row, stamp)
        if last and stream.kind == COMMANDED and self._marks(ACTION)[1][row]:
            yield self._end, self._joints(self._known.features[TOLD]["names"], self._last_word(), self._header(stream, self._end))
        if last and stream == self._contract.config.cameras[0] and self._ends_early():
            after = self._due + AFTER / self._known.fps
            yield after, self._message(stream, row, after)

    @property
    def _end(self) -> float:
        return float(self.stamps[-1]) + 1.0 / self._known.fps

    @property
    def _due(self) -> float:
        """When the last row is due (s)."""
        return self._begin + (len(self.stamps) - 1) / self._known.fps

    def _check_robot(self) -> None:
        told = tuple(self._known.features[TOLD]["names"][:-1]) if TOLD in self._known.features else self._kinematics.names
        if told != self._kinematics.names:
            got, allowed = ", ".join(self._kinematics.names), ", ".join(told)
            raise DatasetError("the robot is not the one that was recorded", got=got, allowed=allowed, mend="--urdf, or --robot")

    def _key(self, stream: StreamConfig) -> str:
        """The column that a stream is in."""
        requested = ASKED if TOLD in self._known.features else ACTION
        keys = {JOINTS: STATE, TOOL_POSE: STATE, COMMANDED: TOLD, REQUESTED: requested, GUARD: GUARDED}
        return f"observation.images.{stream.name}" if stream.kind == CAMERA else keys[stream.kind]

    def _holds(self, stream: StreamConfig) -> bool:
        """Whether the dataset tells what a stream said."""
        key = self._key(stream)
        names = self._known.features.get(key, {}).get("names") or []
        if stream.kind == JOINTS:
            return any(name not in TOOL_NAMES for name in names)
        return key in self._known.features and (stream.kind != TOOL_POSE or tuple(names[:6]) == TOOL_NAMES[:6])

    def _marks(self, key: str) -> tuple[Array, NDArray[np.bool_]]:
        """Ages (T,) s of a column, and where it is valid (T,)."""
        place = self._known.features[AGE]["names"].index(key)
        return self._rows[AGE][:, place].astype(np.float64), self._rows[VALID][:, place] > 0.5

    def _taken(self, stream: StreamConfig) -> Array:
        """When what each row shows was said: (T,) s."""
        key = self._key(stream)
        ages, _ = self._marks(key)
        if key == ACTION:
            return self.stamps
        if key == TOLD:  # the last word before silence keeps its own time, so that what follows is as old as it was
            return np.where(self._marks(ACTION)[1], self.stamps, self.stamps - ages)
        return np.asarray(self.stamps - ages)

    def _times_of(self, stream: StreamConfig) -> Array:
        """When a stream said what each row shows; NaN where that is not valid, or was said for a row before."""
        taken, valid = self._taken(stream), self._marks(self._key(stream))[1].copy()
        valid[0] |= stream.rate > 0.0  # an expected stream had begun, and what is too old in the first row comes back as old
        times, last = np.full(len(taken), np.nan), -np.inf
        for row in np.flatnonzero(valid):
            if taken[row] > last + SAME:
                times[row] = last = taken[row]
        return times

    def _ends_early(self) -> bool:
        """Whether no camera has a picture as late as the last row is due, which then would not come back."""
        return max(float(np.nanmax(self._times[camera.name])) for camera in self._contract.config.cameras) < self._due

    def _message(self, stream: StreamConfig, row: int, stamp: float) -> Any:
        """What a stream said for a row."""
        header, names = self._header(stream, stamp), self._known.features[self._key(stream)]["names"]
        values = None if stream.kind == CAMERA else self._rows[self._key(stream)][row].astype(np.float64)
        if values is None:
            return self._picture(stream, row, header)
        if stream.kind == COMMANDED:
            return self._joints(names, self._word(row, values, stamp), header)
        if stream.kind == JOINTS:
            kept = [place for place, name in enumerate(names) if name not in TOOL_NAMES]
            return self._joints([names[place] for place in kept], values[kept], header)
        if stream.kind == TOOL_POSE:
            return _placed(pose_of_row(values), header)
        return self._asked(row, values, header) if stream.kind == REQUESTED else _guard(values, header)

    def _header(self, stream: StreamConfig, stamp: float) -> Any:
        frame = stream.name if stream.kind == CAMERA else self._contract.base_link
        return typestore().types["std_msgs/msg/Header"](stamp=_time(stamp), frame_id=frame)

    def _picture(self, stream: StreamConfig, row: int, header: Any) -> Any:
        pixels = self._reader.frames(self._index, np.array([row]), stream.name)[0].transpose(1, 2, 0)
        height, width, _ = pixels.shape
        data = np.ascontiguousarray(pixels).reshape(-1)
        return typestore().types[TYPES[CAMERA][0]](
            header=header, height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=data
        )

    def _joints(self, names: list[str], values: Array, header: Any) -> Any:
        message = typestore().types[TYPES[JOINTS][0]]
        return message(header=header, name=list(names), position=values, velocity=np.zeros(0), effort=np.zeros(0))

    def _word(self, row: int, told: Array, stamp: float) -> Array:
        """What the guard said at `stamp` (joints + 1,), such that the line to its next word goes through `told` at the row."""
        age = float(self.stamps[row]) - stamp
        if not age > 0.0:
            return told
        following = np.flatnonzero(self._marks(TOLD)[1][row + 1 :]) + row + 1
        if not len(following):
            return told
        after, gap = self._rows[TOLD][following[0]].astype(np.float64), float(self.stamps[following[0]] - self.stamps[row])
        return told - (after - told) * age / gap

    def _last_word(self) -> Array:
        """Where the guard told the joints to be one row after the last: (joints + 1,), rad and opening."""
        told, action = (self._rows[key][-1].astype(np.float64) for key in (TOLD, ACTION))
        pose = self._kinematics.tool_pose(told[:-1])
        target = rotation.pose(pose[:3, 3] + action[:3], rotation.matrix(action[3:6]) @ pose[:3, :3])
        return np.append(solve_pose(self._kinematics, target, told[:-1]), action[6])

    def _asked(self, row: int, values: Array, header: Any) -> Any:
        """A delta of one row, in force until the next where it is the action."""
        types, period = typestore().types, 1.0 / self._known.fps
        if TOLD not in self._known.features and row + 1 < len(self.stamps):
            period = float(self.stamps[row + 1] - self.stamps[row])
        vector, numbers = types["geometry_msgs/msg/Vector3"], [float(value) for value in values]
        step = types["builtin_interfaces/msg/Duration"](sec=int(period), nanosec=round(period % 1.0 * GIGA))
        until = _time(header.stamp.sec + header.stamp.nanosec / GIGA + period)
        return types[TYPES[REQUESTED][0]](header, vector(*numbers[:3]), vector(*numbers[3:6]), numbers[6], step, until, "", row)


def _guard(values: Array, header: Any) -> Any:
    state, scale, limiting = (float(value) for value in values)
    limits = ["recorded"] if limiting else []
    return typestore().types[TYPES[GUARD][0]](header, int(state), "", "", scale, limits, "", *([0] * 9))


def _placed(pose: Array, header: Any) -> Any:
    """A 4x4 pose as a PoseStamped."""
    types, (w, x, y, z) = typestore().types, rotation.quaternion(pose[:3, :3])
    place, turn = types["geometry_msgs/msg/Point"](*pose[:3, 3]), types["geometry_msgs/msg/Quaternion"](x, y, z, w)
    return types[TYPES[TOOL_POSE][0]](header, types["geometry_msgs/msg/Pose"](place, turn))


def _time(stamp: float) -> Any:
    nanoseconds = round(stamp * GIGA)
    return typestore().types["builtin_interfaces/msg/Time"](sec=nanoseconds // int(GIGA), nanosec=nanoseconds % int(GIGA))
