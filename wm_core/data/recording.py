"""From the messages of a journal or a bag to an episode: what each row saw, what the guard did from it to the next, and how old all is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.data import alignment, requests
from wm_core.data.bag import Bag
from wm_core.data.episode import Episode
from wm_core.data.errors import EpisodeError
from wm_core.data.footage import COMPRESSED, Footage, Reel, shown_size
from wm_core.data.heard import Heard
from wm_core.data.image_head import image_head
from wm_core.data.lerobot_writer import Layout
from wm_core.data.picture import ImageError
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, JOINTS, REQUESTED, TOOL_POSE, TYPES, Contract, StreamConfig
from wm_core.data.recording_layout import ACTION, ASKED, GRIPPER, GUARD_NAMES, GUARDED, STATE, TOLD, layout_of, measured_names
from wm_core.data.track import Track
from wm_core.robot import rotation
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.proprioception import action_row, state_row
from wm_core.robot.rotation import Array
from wm_core.robot.urdf import read_chain


@dataclass(frozen=True)
class Recorded:
    """An episode, how it is laid out, and what was wrong with its streams."""

    episode: Episode
    layout: Layout
    faults: tuple[str, ...]


def recorded(bag: Bag, contract: Contract, task: str) -> Recorded:
    """The episode in a bag. Streams that a bag lacks altogether are named; what is only in parts unusable is told in `faults`."""
    bag.require()
    streams = {bag.topic(stream.topic): stream for stream in contract.config.streams if stream.rate > 0.0 or _there(bag, stream)}
    kinematics = Kinematics(read_chain(contract.urdf, contract.base_link, contract.tool_link))
    tracks = _tracks(bag.messages(streams), streams, contract, kinematics)
    faults = [f"{name}: {count} refused for {why}" for name, track in tracks.items() for why, count in track.refused.items()]
    silent = [name for name, track in tracks.items() if not track.stamps and _stream(contract, name).rate > 0.0]
    if silent:
        got = "; ".join(faults) or "no message"
        raise EpisodeError(f"nothing usable came of {', '.join(silent)}", got=got, allowed="each stream of the contract")
    episode, layout = _Rows(contract, tracks, kinematics, {stream.name: topic for topic, stream in streams.items()}).episode(bag, task)
    return Recorded(episode, layout, (*faults, *([bag.broken] if bag.broken else [])))


def _there(bag: Bag, stream: StreamConfig) -> bool:
    return any(topic == f"/{stream.topic}" or topic.endswith(f"/{stream.topic}") for topic in bag.topics)


def _stream(contract: Contract, name: str) -> StreamConfig:
    return next(stream for stream in contract.config.streams if stream.name == name)


def _tracks(messages: Iterable[Heard], streams: dict[str, StreamConfig], contract: Contract, kinematics: Kinematics) -> dict[str, Track]:
    """What each stream said, by its name."""
    tracks = {stream.name: Track() for stream in streams.values()}
    for heard in messages:
        stream = streams[heard.topic]
        track = tracks[stream.name]
        track.heard += 1
        if heard.kind not in TYPES[stream.kind]:
            track.refuse(f"its type {heard.kind}, which is none of {', '.join(TYPES[stream.kind])}")
            continue
        try:
            _see(track, heard) if stream.kind == CAMERA else _feel(track, heard, stream, contract, kinematics)
        except (EpisodeError, ImageError) as error:
            track.refuse(error.what)
    for track in tracks.values():
        track.ordered()
    _settle(tracks, contract, kinematics)
    return tracks


def _settle(tracks: dict[str, Track], contract: Contract, kinematics: Kinematics) -> None:
    """What was requested, in base_link: the tool is where it was told to be, or where it was measured if nothing tells."""
    config = contract.config
    asked, told = config.of(REQUESTED), config.of(COMMANDED) or config.of(JOINTS)
    if asked is not None and asked.name in tracks:
        words, age = (tracks.get(told.name, Track()), told.age) if told is not None else (Track(), 0.0)
        requests.settle(tracks[asked.name], words, age, kinematics, config.opening)


def _see(track: Track, heard: Heard) -> None:
    size = shown_size(heard)
    encoding = heard.message.format if heard.kind == COMPRESSED else image_head(heard.data).encoding
    track.size, track.encoding = track.size or size, track.encoding or encoding
    if size != track.size:
        track.refuse(f"its size {size[1]}x{size[0]}, where the first was {track.size[1]}x{track.size[0]}")
    elif encoding != track.encoding:
        track.refuse(f"its encoding {encoding}, where the first was {track.encoding}")
    else:
        track.take(heard.stamp, np.zeros(0))


def _feel(track: Track, heard: Heard, stream: StreamConfig, contract: Contract, kinematics: Kinematics) -> None:
    message = heard.message
    if stream.kind == GUARD:
        track.take(heard.stamp, np.array([message.state, message.scale, len(message.active_limits) > 0], dtype=np.float64))
    elif stream.kind == REQUESTED:
        track.take(heard.stamp, requests.request_row(message, heard.kind, stream.age, contract.base_link, contract.tool_link))
    elif stream.kind == TOOL_POSE:
        track.take(heard.stamp, _pose(message, contract.base_link))
    else:
        _joints(track, heard, kinematics)


def _joints(track: Track, heard: Heard, kinematics: Kinematics) -> None:
    """Positions (joints,) rad, and the opening, negative where it is not told."""
    found = dict(zip(heard.message.name, heard.message.position, strict=False))
    if not set(kinematics.names) & set(found):
        return  # somebody else's joints, a gripper's
    missing = [name for name in kinematics.names if name not in found]
    if missing:
        track.refuse(f"joints that are missing: {', '.join(missing)}")
        return
    track.take(heard.stamp, np.array([*(found[name] for name in kinematics.names), found.get(GRIPPER, -1.0)], dtype=np.float64))


def _pose(message: Any, base: str) -> Array:
    """The tool's position (m) and rotation vector from DOWN (rad), (6,), of a PoseStamped."""
    frame, place, turn = message.header.frame_id, message.pose.position, message.pose.orientation
    if frame != base:
        raise EpisodeError(f"its frame '{frame}', which is not {base}")
    quaternion = np.array([turn.w, turn.x, turn.y, turn.z])
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1.0) < 0.01:
        raise EpisodeError("a rotation that is no unit quaternion")
    pose = rotation.pose(np.array([place.x, place.y, place.z]), rotation.from_quaternion(quaternion / length))
    return state_row(pose, 0.0, ())[:6]


class _Rows:
    """The columns of an episode, made from the tracks of its streams."""

    def __init__(self, contract: Contract, tracks: dict[str, Track], kinematics: Kinematics, topics: dict[str, str]) -> None:
        self._contract, self._tracks, self._kinematics, self._topics = contract, tracks, kinematics, topics
        self._config = contract.config
        self._ages: dict[str, alignment.Times] = {}
        self._valid: dict[str, NDArray[np.bool_]] = {}

    def episode(self, bag: Bag, task: str) -> tuple[Episode, Layout]:
        config, cameras = self._config, self._config.cameras
        begun = [track.stamps[0] for name, track in self._tracks.items() if _stream(self._contract, name).rate > 0.0]
        last = max(self._tracks[camera.name].stamps[-1] for camera in cameras)
        main = self._tracks[cameras[0].name].times
        first = main[np.searchsorted(main, max(begun) - 1e-9)] if max(begun) <= main[-1] else main[-1] + 1.0
        others = [self._tracks[camera.name].times for camera in cameras[1:]]
        patience = alignment.TOGETHER / max(config.fps, cameras[0].rate)
        shown, rows = alignment.frame_rows(main, alignment.ticks(float(first), last, config.fps), config.fps, others, patience)
        images, sizes = {}, {}
        again = partial(bag.messages, trusted=True)
        reel = Reel(again, [self._topics[camera.name] for camera in cameras])
        for index, camera in enumerate(cameras):
            track, key = self._tracks[camera.name], f"observation.images.{camera.name}"
            chosen = shown if index == 0 else alignment.newest(track.times, rows)
            self._mark(key, track, camera, chosen, rows)
            numbers, sizes[camera.name] = np.array(track.numbers)[np.maximum(chosen, 0)], track.size or (0, 0)
            images[key] = Footage(again, reel, self._topics[camera.name], numbers, sizes[camera.name])
        episode = Episode(task, rows, images, self._columns(rows), self._ages, self._valid)  # type: ignore[arg-type]
        return episode, layout_of(self._contract, sizes)

    def _mark(self, key: str, track: Track, stream: StreamConfig, chosen: alignment.Indices, rows: alignment.Times) -> None:
        """How old what each row shows is, and whether that is young enough to be valid."""
        ages = alignment.ages(track.times, chosen, rows)
        self._valid[key] = ages <= stream.age
        self._ages[key] = np.where(np.isfinite(ages), ages, rows - rows[0])

    def _columns(self, rows: alignment.Times) -> dict[str, Array]:
        columns: dict[str, Array] = {}
        if (stream := self._config.of(COMMANDED)) is not None:
            columns[TOLD], after = self._told(stream, rows)
            columns[ACTION] = self._actions(columns[TOLD], after)
            columns[STATE] = self._states(columns[TOLD], rows)
        elif width := len(measured_names(self._config, self._kinematics.names)):
            columns[STATE] = self._measured(rows, width)
        if (stream := self._config.of(REQUESTED)) is not None:
            if TOLD in columns:
                columns[ASKED] = self._asked(stream, rows)
            else:
                columns[ACTION] = self._requested(stream, rows)
        if (stream := self._config.of(GUARD)) is not None:
            columns[GUARDED] = self._held(GUARDED, stream, rows, len(GUARD_NAMES))
        return columns

    def _held(self, key: str, stream: StreamConfig, rows: alignment.Times, width: int) -> NDArray[np.float64]:
        """For each row the newest numbers of a stream; zeros that are marked as not valid where there are none."""
        track = self._tracks.get(stream.name, Track())
        chosen = alignment.newest(track.times, rows)
        self._mark(key, track, stream, chosen, rows)
        found = np.array(track.values) if track.values else np.zeros((1, width))
        return np.where((chosen >= 0)[:, None], found[np.maximum(chosen, 0)], 0.0)

    def _told(self, stream: StreamConfig, rows: alignment.Times) -> tuple[Array, Array]:
        """Where the guard told the joints to be at each row and one row after the last: (T, joints + 1), (joints + 1,), rad and opening.

        Between two of its words the guard moved evenly, and each word is of its own time: this looks into no future.
        """
        track = self._tracks[stream.name]
        self._mark(TOLD, track, stream, alignment.newest(track.times, rows), rows)
        end = rows[-1] + 1.0 / self._config.fps
        values = np.array(track.values)
        values[:, -1] = np.where(values[:, -1] < 0.0, self._config.opening, values[:, -1])
        told = np.stack([np.interp([*rows, end], track.times, column) for column in values.T], axis=1)
        known = self._valid[TOLD] & np.append(self._valid[TOLD][1:], track.stamps[-1] >= end - stream.age)
        self._valid[ACTION], self._ages[ACTION] = known, self._ages[TOLD]
        return told[:-1], told[-1]

    def _actions(self, told: Array, after: Array) -> Array:
        """What the guard sent from each row to the next, composed: (T, 7) m, rad, opening."""
        poses = [self._kinematics.tool_pose(joints) for joints in [*told[:, :-1], after[:-1]]]
        openings = [*told[1:, -1], after[-1]]
        return np.array([action_row(poses[row], poses[row + 1], opening) for row, opening in enumerate(openings)])

    def _states(self, told: Array, rows: alignment.Times) -> Array:
        """Where the tool was told to be, and where the joints were measured."""
        stream = self._config.of(JOINTS)
        joints: Array = np.zeros((len(rows), 0))
        self._valid[STATE], self._ages[STATE] = self._valid[TOLD].copy(), self._ages[TOLD]
        if stream is not None:
            joints = self._held(STATE, stream, rows, told.shape[1])[:, :-1]
            self._valid[STATE] &= self._valid[TOLD]
        return np.array([state_row(self._kinematics.tool_pose(one[:-1]), one[-1], row) for one, row in zip(told, joints, strict=True)])

    def _measured(self, rows: alignment.Times, width: int) -> Array:
        """Where the tool and the joints were measured, as far as there are streams of them: (T, width)."""
        parts = list[Array]()
        valid: NDArray[np.bool_] = np.ones(len(rows), dtype=np.bool_)
        ages: alignment.Times = np.zeros(len(rows))
        for kind, count in ((TOOL_POSE, 6), (JOINTS, len(self._kinematics.names))):
            if (stream := self._config.of(kind)) is not None:
                parts.append(self._held(STATE, stream, rows, count)[:, :count])
                valid, ages = valid & self._valid[STATE], np.maximum(ages, self._ages[STATE])
        self._valid[STATE], self._ages[STATE] = valid, ages
        return np.concatenate(parts, axis=1).reshape(len(rows), width)

    def _asked(self, stream: StreamConfig, rows: alignment.Times) -> Array:
        """What was asked for at each row, as motion of one row: (T, 7)."""
        found = self._held(ASKED, stream, rows, requests.IN_TOOL + 1)
        return np.concatenate([found[:, :6] / self._config.fps, found[:, 6:7]], axis=1)

    def _requested(self, stream: StreamConfig, rows: alignment.Times) -> Array:
        """What was asked for from each row to the next, where no guard tells what became of it: (T, 7)."""
        track = self._tracks.get(stream.name, Track())
        self._mark(ACTION, track, stream, alignment.newest(track.times, rows), rows)
        moved, self._valid[ACTION] = requests.motion(track, rows, float(rows[-1]) + 1.0 / self._config.fps, self._config.opening)
        return moved
