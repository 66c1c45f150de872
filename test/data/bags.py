"""Messages and bags for tests, made without ROS; sqlite3 bags only here, because the package never writes one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from wm_core.data.bag import NANOSECONDS, BagWriter
from wm_core.data.bag_types import known_types

START = 1_700_000_000.0
Sent = tuple[str, Any, float]  # topic, message, received (s)


def make(name: str, /, **fields: Any) -> Any:
    """A message of this type, e.g. std_msgs/msg/Header."""
    return known_types().types[name](**fields)


def stamp(value: float) -> Any:
    nanoseconds = round(value * NANOSECONDS)
    return make("builtin_interfaces/msg/Time", sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def header(value: float, frame: str = "base_link") -> Any:
    return make("std_msgs/msg/Header", stamp=stamp(value), frame_id=frame)


def joint_state(value: float, names: Iterable[str], positions: Iterable[float]) -> Any:
    empty = np.zeros(0)
    return make(
        "sensor_msgs/msg/JointState",
        header=header(value),
        name=list(names),
        position=np.array(list(positions), dtype=np.float64),
        velocity=empty,
        effort=empty,
    )


def image(value: float, pixels: np.ndarray, encoding: str = "rgb8") -> Any:
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1)
    return make(
        "sensor_msgs/msg/Image",
        header=header(value, "camera"),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=data.size // height,
        data=data,
    )


def write_mcap(path: Path, sent: Iterable[Sent]) -> Path:
    with BagWriter(path) as writer:
        for topic, message, received in sent:
            writer.write(topic, message, received)
    return path


def write_sqlite(path: Path, sent: Iterable[Sent]) -> Path:
    connections: dict[str, Any] = {}
    types = known_types()
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for topic, message, received in sent:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=types)
            writer.write(connections[topic], round(received * NANOSECONDS), bytes(types.serialize_cdr(message, kind)))
    return path
