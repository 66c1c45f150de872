"""Messages of an arm that moves in a known way, as a recorder hears them, and bags and journals of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wm_core import configuration
from wm_core.data.heard import Heard
from wm_core.data.journal import Journal, JournalWriter, Labels
from wm_core.data.message_types import encoded, typestore
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, JOINTS, REQUESTED, TYPES, Contract, RecordingConfig
from wm_core.data.to_bag import BagWriter
from wm_core.simulation import arm

CONFIG = Path(__file__).resolve().parents[2] / "config"
LABELS = Labels("wave", "unknown", "wm_arm", "table")
START, SIZE = 1000.0, (48, 64)
GIGA = 10**9


def contract(**changes: Any) -> Contract:
    """The shipped one, for the embedded arm."""
    config = configuration.read(RecordingConfig, CONFIG / "record_lerobot.yaml")
    return Contract(replace(config, **changes), arm.urdf(), "base_link", "tool0")


def joints_at(time: float) -> np.ndarray:
    """Where the arm is told to be, (6,) rad: slow waves about its home."""
    return np.array(arm.HOME) + 0.1 * np.sin(0.7 * (time - START) + np.arange(6))


def picture_at(time: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A bright column that wanders with time: (H, W, 3)."""
    pixels = np.full((*size, 3), 40, np.uint8)
    column = int((time - START) * 8.0) % (size[1] - 8)
    pixels[:, column : column + 8] = (220, 120, 30)
    return pixels


def header(stamp: float, frame: str = "base_link") -> Any:
    types, nanoseconds = typestore().types, round(stamp * GIGA)
    time = types["builtin_interfaces/msg/Time"](sec=nanoseconds // GIGA, nanosec=nanoseconds % GIGA)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def photograph(pixels: np.ndarray, stamp: float) -> Any:
    """The camera's message that shows these pixels (H, W, 3)."""
    rows, columns, _ = pixels.shape
    fields = {"height": rows, "width": columns, "encoding": "rgb8", "is_bigendian": 0, "step": 3 * columns}
    return typestore().types[TYPES[CAMERA][0]](header=header(stamp, "front"), data=pixels.reshape(-1), **fields)


def image(stamp: float, size: tuple[int, int] = SIZE) -> Any:
    return photograph(picture_at(stamp, size), stamp)


def joint_state(stamp: float, opening: float | None = None, joints: np.ndarray | None = None) -> Any:
    values = joints_at(stamp) if joints is None else joints
    names = [*arm.JOINTS, *([] if opening is None else ["gripper"])]
    position = np.array([*values, *([] if opening is None else [opening])])
    return typestore().types[TYPES[JOINTS][0]](header(stamp), names, position, np.zeros(0), np.zeros(0))


def request(stamp: float) -> Any:
    types = typestore().types
    vector, duration = types["geometry_msgs/msg/Vector3"], types["builtin_interfaces/msg/Duration"]
    until = types["builtin_interfaces/msg/Time"](sec=int(stamp) + 1, nanosec=0)
    return types[TYPES[REQUESTED][0]](
        header(stamp), vector(0.01, 0.0, 0.0), vector(0.0, 0.0, 0.02), 0.5, duration(0, GIGA // 10), until, "p", 0
    )


def guard_status(stamp: float, scale: float = 0.75, limits: Sequence[str] = ("speed",)) -> Any:
    return typestore().types[TYPES[GUARD][0]](header(stamp), 1, "OK", "", scale, list(limits), "", *([0] * 9))


def messages(seconds: float, jitter: float = 0.0, seed: int = 0, size: tuple[int, int] = SIZE) -> list[Heard]:
    """All that is heard in `seconds` (s) from START on, in the order of arrival, each up to `jitter` (s) late in being stamped."""
    draw = np.random.default_rng(seed)
    made = {
        ("/camera/front/image_raw", TYPES[CAMERA][0], 10.0): lambda stamp: image(stamp, size),
        ("/joint_states", TYPES[JOINTS][0], 100.0): joint_state,
        ("/safety_guard/commanded", TYPES[COMMANDED][0], 50.0): lambda stamp: joint_state(stamp, 0.25),
        ("/delta_command", TYPES[REQUESTED][0], 10.0): request,
        ("/safety_guard/status", TYPES[GUARD][0], 20.0): guard_status,
    }
    heard = []
    for (topic, kind, rate), make in made.items():
        for number in range(round(seconds * rate)):
            stamp = START + number / rate + jitter * draw.random()
            heard.append(Heard(topic, kind, stamp + 0.002, encoded(make(stamp), kind)))
    return sorted(heard, key=lambda one: one.received)


def write_bag(path: Path, heard: Iterable[Heard]) -> Path:
    """An MCAP of these messages."""
    with BagWriter(path) as writer:
        for one in heard:
            writer.write(one, one.received)
    return path


def write_journal(root: Path, number: int, heard: Iterable[Heard], agreed: Contract, finish: bool = True) -> Journal:
    """What the recorder leaves behind when it heard these messages."""
    writer = JournalWriter(root, number, agreed, LABELS)
    for one in heard:
        writer.write(one.topic, one.kind, one.received, one.stamp, one.data)
    return writer.finish(LABELS, ()) if finish else writer.journal


def without(heard: Iterable[Heard], topic: str, after: float = -np.inf) -> Iterator[Heard]:
    """The same, but the topic falls silent `after` that time (s)."""
    return (one for one in heard if one.topic != topic or one.received < after)


HEARD_BRIEFLY = messages(1.0)
