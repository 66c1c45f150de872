"""An episode of a recorded dataset as a bag: the messages that its rows were made from, one per row."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from mcap.writer import CompressionType, Writer

from wm_core.data import metadata
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError
from wm_core.data.heard import Heard
from wm_core.data.lerobot_writer import STAMP
from wm_core.data.message_types import definition, encoded, typestore
from wm_core.data.reader import DatasetReader
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, JOINTS, REQUESTED, TYPES, RecordingConfig, StreamConfig
from wm_core.data.recording_layout import ASKED, GUARDED, STATE, TOLD

GIGA = 1e9
TOOL = 7  # numbers of a state before the joints


class BagWriter:
    """Writes messages into an MCAP that every reader of ROS 2 bags opens; use it with `with`."""

    def __init__(self, path: Path, compression: CompressionType = CompressionType.ZSTD) -> None:
        if path.exists():
            raise DatasetError("there is something at the place of the new bag", got=path, mend="remove it, or give another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("wb")
        self._writer = Writer(self._file, compression=compression)
        self._writer.start(profile="ros2", library="wm_ros")
        self._channels: dict[str, int] = {}

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.finish()
        self._file.close()

    def write(self, heard: Heard, stamp: float) -> None:
        """One message; times in s."""
        if heard.topic not in self._channels:
            schema = self._writer.register_schema(heard.kind, "ros2msg", definition(heard.kind).encode())
            self._channels[heard.topic] = self._writer.register_channel(heard.topic, "cdr", schema)
        self._writer.add_message(self._channels[heard.topic], round(heard.received * GIGA), heard.data, round(stamp * GIGA))


def to_bag(dataset: Path, index: int, config: RecordingConfig, out: Path) -> int:
    """Write episode `index`; `wm dataset from-bag` makes the same rows of it. Returns how many messages were written."""
    known = metadata.load(dataset)
    if not 0 <= index < len(known):
        raise DatasetError(f"{dataset} has no such episode", got=index, allowed=f"0 .. {len(known) - 1}")
    cameras = {stream.name: f"observation.images.{stream.name}" for stream in config.cameras}
    columns = [name for name in (STATE, TOLD, ASKED, GUARDED, STAMP) if name in known.features]
    described = DatasetConfig(dataset.name, known.fps, cameras, None, tuple(columns))
    reader = DatasetReader(dataset, described)
    rows = reader.columns(index)
    stamps, count = rows[STAMP].reshape(-1).astype(np.float64), 0
    with BagWriter(out) as writer:
        for row, stamp in enumerate(stamps):
            for stream in config.streams:
                message = _message(stream, reader, rows, index, row, float(stamp), known)
                if message is not None:
                    kind = TYPES[stream.kind][0]
                    writer.write(Heard(f"/{stream.topic}", kind, float(stamp), encoded(message, kind)), float(stamp))
                    count += 1
    return count


def _message(
    stream: StreamConfig, reader: DatasetReader, rows: dict[str, Any], index: int, row: int, stamp: float, known: metadata.Metadata
) -> Any:
    """What a stream said at a row; None where the dataset does not hold it."""
    types = typestore().types
    header = types["std_msgs/msg/Header"](stamp=_time(stamp), frame_id=_frame(stream))
    if stream.kind == CAMERA:
        pixels = reader.frames(index, np.array([row]), stream.name)[0].transpose(1, 2, 0)
        height, width, _ = pixels.shape
        data = np.ascontiguousarray(pixels).reshape(-1)
        return types[TYPES[CAMERA][0]](
            header=header, height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=data
        )
    if stream.kind in (JOINTS, COMMANDED):
        key, first = (STATE, TOOL) if stream.kind == JOINTS else (TOLD, 0)
        if key not in rows:
            return None
        names, values = known.features[key]["names"][first:], rows[key][row][first:].astype(np.float64)
        return types[TYPES[JOINTS][0]](header=header, name=list(names), position=values, velocity=np.zeros(0), effort=np.zeros(0))
    return _of_guard(stream, rows, row, header, known.fps)


def _of_guard(stream: StreamConfig, rows: dict[str, Any], row: int, header: Any, fps: float) -> Any:
    types = typestore().types
    if stream.kind == REQUESTED and ASKED in rows:
        values = [float(value) for value in rows[ASKED][row]]
        vector = types["geometry_msgs/msg/Vector3"]
        step = types["builtin_interfaces/msg/Duration"](sec=0, nanosec=round(GIGA / fps))
        moved, turned = vector(*values[:3]), vector(*values[3:6])
        until = _time(header.stamp.sec + header.stamp.nanosec / GIGA + 1.0 / fps)
        return types[TYPES[REQUESTED][0]](header, moved, turned, values[6], step, until, "", row)
    if stream.kind == GUARD and GUARDED in rows:
        state, scale, limiting = (float(value) for value in rows[GUARDED][row])
        limits = ["recorded"] if limiting else []
        return types[TYPES[GUARD][0]](header, int(state), "", "", scale, limits, "", *([0] * 9))
    return None


def _time(stamp: float) -> Any:
    nanoseconds = round(stamp * GIGA)
    return typestore().types["builtin_interfaces/msg/Time"](sec=nanoseconds // int(GIGA), nanosec=nanoseconds % int(GIGA))


def _frame(stream: StreamConfig) -> str:
    return stream.name if stream.kind == CAMERA else "base_link"
