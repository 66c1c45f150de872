"""From the messages of a journal or a bag to an episode: what each row saw, what the guard did from it to the next, and how old all is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wm_core.data import alignment
from wm_core.data.bag import Bag
from wm_core.data.episode import Episode
from wm_core.data.errors import EpisodeError
from wm_core.data.footage import Footage, Reel, shown_size
from wm_core.data.heard import Heard
from wm_core.data.lerobot_writer import Layout
from wm_core.data.message_types import seconds
from wm_core.data.picture import ImageError
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, JOINTS, REQUESTED, TYPES, Contract, StreamConfig
from wm_core.data.recording_layout import ACTION, ASKED, GRIPPER, GUARD_NAMES, GUARDED, STATE, TOLD, layout_of
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.proprioception import action_row, state_row
from wm_core.robot.rotation import Array
from wm_core.robot.urdf import read_chain

LONGEST_GAP = 60.0  # s: what is further away than this from the rest of its stream has the stamp of another clock


@dataclass
class Track:
    """What one stream said: stamps (n,), a row of numbers for each message, and the number of that message within its topic."""

    stamps: list[float] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    heard: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None

    def take(self, stamp: float, value: NDArray[np.float64]) -> None:
        """A message as it came; `ordered` sees to the time."""
        if not np.isfinite(stamp) or not np.isfinite(value).all():
            self.refuse("a number that is not finite")
        else:
            self.stamps.append(stamp)
            self.values.append(value)
            self.numbers.append(self.heard - 1)

    def refuse(self, why: str, count: int = 1) -> None:
        if count:
            self.refused[why] = self.refused.get(why, 0) + count

    def ordered(self) -> None:
        """Keep the most messages whose stamps grow, and of these those of one clock: one wrong stamp costs its own message alone."""
        grown = alignment.growing(self.times)
        self.refuse("a stamp that is not later than the one before", len(self.stamps) - len(grown))
        kept = grown[alignment.together(self.times[grown], LONGEST_GAP)]
        self.refuse(f"a stamp that is more than {LONGEST_GAP:g} s away from the others", len(grown) - len(kept))
        self.stamps = [self.stamps[index] for index in kept]
        self.values = [self.values[index] for index in kept]
        self.numbers = [self.numbers[index] for index in kept]

    @property
    def times(self) -> alignment.Times:
        return np.array(self.stamps, dtype=np.float64)


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
    tracks = _tracks(bag.messages(streams), streams, kinematics)
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


def _tracks(messages: Iterable[Heard], streams: dict[str, StreamConfig], kinematics: Kinematics) -> dict[str, Track]:
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
            _see(track, heard) if stream.kind == CAMERA else _feel(track, heard, stream.kind, kinematics)
        except (EpisodeError, ImageError) as error:
            track.refuse(error.what)
    for track in tracks.values():
        track.ordered()
    return tracks


def _see(track: Track, heard: Heard) -> None:
    size = shown_size(heard)
    track.size = track.size or size
    if size == track.size:
        track.take(heard.stamp, np.zeros(0))
    else:
        track.refuse(f"its size {size[1]}x{size[0]}, where the first was {track.size[1]}x{track.size[0]}")


def _feel(track: Track, heard: Heard, kind: str, kinematics: Kinematics) -> None:
    message = heard.message
    if kind == GUARD:
        track.take(heard.stamp, np.array([message.state, message.scale, len(message.active_limits) > 0], dtype=np.float64))
    elif kind == REQUESTED:
        moved, turned = message.translation, message.rotation
        parts = [moved.x, moved.y, moved.z, turned.x, turned.y, turned.z, message.gripper, seconds(message.step)]
        track.take(heard.stamp, np.array(parts, dtype=np.float64))
    else:
        found = dict(zip(message.name, message.position, strict=False))
        if not set(kinematics.names) & set(found):
            return  # somebody else's joints, a gripper's
        missing = [name for name in kinematics.names if name not in found]
        if missing:
            track.refuse(f"joints that are missing: {', '.join(missing)}")
            return
        track.take(heard.stamp, np.array([*(found[name] for name in kinematics.names), found.get(GRIPPER, -1.0)], dtype=np.float64))


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
        if (stream := self._config.of(REQUESTED)) is not None:
            columns[ASKED] = self._asked(stream, rows)
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

    def _asked(self, stream: StreamConfig, rows: alignment.Times) -> NDArray[np.float64]:
        """What was asked for at each row, as motion of one row: a command that is meant for longer is shared out."""
        found = self._held(ASKED, stream, rows, 8)
        share = (1.0 / self._config.fps) / np.maximum(found[:, 7], 1e-3)
        return np.concatenate([found[:, :6] * share[:, None], found[:, 6:7]], axis=1)
