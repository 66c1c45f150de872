"""ROS messages without ROS: the common types of Jazzy and those of wm_ros, from bytes and back."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from wm_core.data.errors import DatasetError, EpisodeError

PACKAGE = Path(__file__).resolve().parents[1]
# What bytes that are no message make the package raise.
UNREADABLE = (SerdeError, TypesysError, struct.error, KeyError, ValueError, IndexError, AssertionError, MemoryError, OverflowError)
OWN = ("DeltaEECommand", "ExecutedDelta", "SafetyStatus")


@cache
def typestore() -> Typestore:
    """The types that are known without being told; what a bag brings along is `brought`."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in OWN:
        store.register(get_types_from_msg((_folder() / f"{name}.msg").read_text(encoding="utf-8"), own(name)))
    return store


def own(name: str) -> str:
    """The full name of a message of this package."""
    return f"wm_ros/msg/{name}"


def definition(kind: str) -> str:
    """The text that tells a reader elsewhere what a message of this kind holds."""
    text, _ = typestore().generate_msgdef(kind, ros_version=2)
    return str(text)


def decoded(data: bytes | memoryview, kind: str, types: Typestore | None = None) -> Any:
    """A message from its CDR bytes; `types` are those it was written with, where its bag brings them."""
    try:
        return (types or typestore()).deserialize_cdr(data, kind)
    except UNREADABLE as error:
        raise EpisodeError(f"a message is not the {kind} that it is said to be", got=f"{type(error).__name__}: {error}") from error


def encoded(message: Any, kind: str) -> bytes:
    """The CDR bytes of a message."""
    return bytes(typestore().serialize_cdr(message, kind))


@cache
def brought(kind: str, text: str) -> Typestore | None:
    """The types that a bag brings along with a topic, which its messages were written with; None where it brings none that can be read."""
    if not text:
        return None
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(text, kind))
    except (TypesysError, ValueError) as error:
        raise DatasetError(f"the definition of {kind} that the bag brings cannot be read", got=str(error).splitlines()[0]) from error
    return store


def seconds(stamp: Any) -> float:
    """A stamp or duration in seconds."""
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)


def _folder() -> Path:
    """Where the definitions are: msg/ of the checkout that the package is in, or share/wm_ros/msg of the installation."""
    for above in PACKAGE.parents:
        for folder in (above / "msg", above / "share" / "wm_ros" / "msg"):
            if (folder / f"{OWN[0]}.msg").is_file():
                return folder
    raise DatasetError("the message definitions of wm_ros were not found", got=f"none above {PACKAGE}", mend="install the package again")
