"""What was asked of the arm: velocities of the tool in base_link, each in force until the next one or as long as it was meant for."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wm_core.data import alignment
from wm_core.data.errors import EpisodeError
from wm_core.data.message_types import seconds
from wm_core.data.track import Track
from wm_core.robot import rotation
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.rotation import Array

TWIST = "geometry_msgs/msg/TwistStamped"
KEEP = -1.0  # an opening that asks for none
SHORTEST = 1e-3  # s: no delta is taken to be meant for less
COVERED = 0.9  # share of the time to the next row in which something must be asked for, for the row's action to be known
OPENING, MEANT, IN_TOOL = 6, 7, 8  # of a row; before them m/s, rad/s; then 0 .. 1 or KEEP, s, and whether the axes are the tool's


def request_row(message: Any, kind: str, age: float, base: str, tool: str) -> Array:
    """The numbers (9,) of a DeltaEECommand, or of a TwistStamped, which is meant for `age` (s) and tells no opening."""
    frame = message.header.frame_id
    if frame not in (base, tool):
        raise EpisodeError(f"its frame '{frame}', which is neither {base} nor {tool}")
    if kind == TWIST:
        moved, turned, opening, meant, share = message.twist.linear, message.twist.angular, KEEP, age, 1.0
    else:
        moved, turned, opening, meant = message.translation, message.rotation, message.gripper, max(seconds(message.step), SHORTEST)
        share = 1.0 / meant
    twist = share * np.array([moved.x, moved.y, moved.z, turned.x, turned.y, turned.z], dtype=np.float64)
    return np.array([*twist, opening, meant, float(frame == tool and tool != base)])


def settle(requests: Track, words: Track, age: float, kinematics: Kinematics, opening: float) -> None:
    """Turn what was given in the tool's axes into base_link, and openings that are to be kept into what they were.

    `words` are joints (6,) rad and the gripper's opening, negative where not told; older than `age` (s) they tell nothing, and a request
    in the tool's axes is refused then.
    """
    asked, times, kept = opening, words.times, list[int]()
    for index, (stamp, row) in enumerate(zip(requests.stamps, requests.values, strict=True)):
        word = _word(times, words.values, stamp, age)
        if row[OPENING] < 0.0:
            row[OPENING] = asked if word is None or word[-1] < 0.0 else word[-1]
        asked = row[OPENING]
        if row[IN_TOOL] and word is not None:
            turn = kinematics.tool_pose(word[:-1])[:3, :3]
            row[:3], row[3:6], row[IN_TOOL] = turn @ row[:3], turn @ row[3:6], 0.0
        if not row[IN_TOOL]:
            kept.append(index)
    requests.keep(np.array(kept, dtype=np.int64), "axes of the tool, whose pose was not known then")


def _word(times: alignment.Times, words: list[Array], stamp: float, age: float) -> Array | None:
    """Where the arm was at `stamp` (s), between two words, and the opening of the earlier one; None where that is too old."""
    newest = int(np.searchsorted(times, stamp, side="right")) - 1
    if newest < 0 or stamp - times[newest] > age:
        return None
    before, following = words[newest], min(newest + 1, len(times) - 1)
    share = (stamp - times[newest]) / (times[following] - times[newest]) if following > newest else 0.0
    return np.append(before[:-1] + share * (words[following][:-1] - before[:-1]), before[-1])


def motion(requests: Track, rows: alignment.Times, end: float, opening: float) -> tuple[Array, NDArray[np.bool_]]:
    """What the requests add up to from each row (T,) s to the next and from the last to `end`: (T, 7), and where that is known (T,).

    v dt is summed, rotations are composed; the opening is the one asked for last before the next row.
    """
    times, asked = requests.times, np.array(requests.values).reshape(-1, IN_TOOL + 1)
    until = np.minimum(np.append(times[1:], np.inf)[: len(times)], times + asked[:, MEANT])
    moved, known = [], []
    for begin, stop in pairwise([*rows, end]):
        first, last = max(int(np.searchsorted(times, begin, side="right")) - 1, 0), int(np.searchsorted(times, stop, side="left"))
        span = slice(first, last)
        spent = np.maximum(np.minimum(until[span], stop) - np.maximum(times[span], begin), 0.0)
        turns: Array = asked[span, 3:6] * spent[:, None]
        turned = reduce(rotation.compose, turns, cast(Array, np.zeros(3)))
        moved.append([*(spent @ asked[span, :3]), *turned, asked[last - 1, OPENING] if last else opening])
        known.append(bool(spent.sum() >= COVERED * (stop - begin)))
    return np.array(moved), np.array(known, dtype=np.bool_)
