"""ROS messages without ROS: the common types of Jazzy and those of wm_ros, from bytes and back."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from wm_core.data.errors import DatasetError

PACKAGE = Path(__file__).resolve().parents[1]
OWN = ("DeltaEECommand", "ExecutedDelta", "SafetyStatus")


@cache
def typestore() -> Typestore:
    """The types that are known without being told; what a bag brings with it is registered in a copy (`with_definitions`)."""
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


def decoded(data: bytes | memoryview, kind: str) -> Any:
    """A message from its CDR bytes."""
    return typestore().deserialize_cdr(data, kind)


def encoded(message: Any, kind: str) -> bytes:
    """The CDR bytes of a message."""
    return bytes(typestore().serialize_cdr(message, kind))


def learn(kind: str, text: str) -> None:
    """Take over the definition of a type that is not known yet from a bag that brings it."""
    if kind not in typestore().types:
        typestore().register({name: fields for name, fields in get_types_from_msg(text, kind).items() if name not in typestore().types})


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
