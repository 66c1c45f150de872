"""The message types that bags hold: those of ROS 2 Jazzy, our own as msg/ defines them, and whatever a bag brings along itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from wm_core.data.errors import BagError

PACKAGE = Path(__file__).resolve().parents[1]


def message_folder(package: Path = PACKAGE) -> Path:
    """msg/ of the checkout that wm_core is in, or share/wm_ros/msg of the installation."""
    for above in package.parents:
        for folder in (above / "msg", above / "share" / "wm_ros" / "msg"):
            if (folder / "ExecutedDelta.msg").is_file():
                return folder
    raise BagError("the definitions of our messages were not found", got=f"none above {package}", mend="install the package again")


@cache
def known_types() -> Typestore:
    """The standard types and ours."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(message_folder().glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"wm_ros/msg/{path.stem}"))
    return store


def types_of(definition: str, name: str) -> Typestore:
    """The types that one schema of a bag defines; a definition that is empty is looked up among the known ones."""
    if not definition:
        return known_types()
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition, name))
    return store
