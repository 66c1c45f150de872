"""What a recording holds for a model: frames as tokens, where the arm was told to be, when each came; from a bag or from topics."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from wm_core.data.bag import Bag
from wm_core.data.footage import picture_of
from wm_core.data.heard import Heard
from wm_core.data.picture import Picture
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, Contract
from wm_core.data.recording_layout import GRIPPER
from wm_core.errors import WmError
from wm_core.evaluation.errors import EvaluationError
from wm_core.planning.history import History, Reading
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.rotation import Array
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm
from wm_core.vision.encoder import Encoder

KEPT = 600  # pictures kept for strips; the tokens are kept of all
GAP = 1.5  # periods between two stamps, from which on messages are missing between them


@dataclass(frozen=True)
class Frame:
    """One picture as tokens (P, D): when it was taken, and when it came (s), which a played recording does not tell."""

    stamp: float
    received: float | None
    latents: Tensor


@dataclass
class Replay:
    """Fills with every message that is heard, in any order; what cannot be used is counted by reason in `missed`.

    `played`: over topics, where it is the playing that says when a message comes, and where the arm may be described after its words: these
    wait until `judged`.
    """

    encoder: Encoder
    contract: Contract
    played: bool = False
    frames: list[Frame] = field(default_factory=list)
    readings: dict[float, tuple[Reading, Array]] = field(default_factory=dict)
    guard: list[tuple[float, bool]] = field(default_factory=list)  # stamp, and whether a limit cut
    pictures: dict[float, Picture] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)  # messages by topic
    encoding: list[float] = field(default_factory=list)  # s of each frame
    waiting: list[Heard] = field(default_factory=list)  # words of the guard

    def __post_init__(self) -> None:
        contract = self.contract
        self._kinematics = Kinematics(read_chain(contract.urdf, contract.base_link, contract.tool_link))
        self._size: tuple[int, ...] | None = None
        self._known: set[float] = set()

    def hear(self, heard: Heard, kind: str) -> None:
        """A message of a stream of this kind of the contract."""
        self.heard[heard.topic] = self.heard.get(heard.topic, 0) + 1
        if kind == COMMANDED and self.played:
            self.waiting.append(heard)
        else:
            self._take(heard, kind)

    def judged(self, contract: Contract) -> Replay:
        """What was played, with the words of the guard taken as those of the arm of this contract."""
        known = replace(self, contract=contract, waiting=[], missed=dict(self.missed))
        for word in self.waiting:
            known._take(word, COMMANDED)
        return known

    def see(self, picture: Picture, stamp: float, received: float | None) -> None:
        """A frame of the camera (H, W, 3)."""
        self._size = self._size or picture.shape
        if picture.shape != self._size:
            self.miss("a frame of another size than the first")
            return
        if stamp in self._known:
            self.miss("a frame whose stamp came before")
            return
        began = time.perf_counter()
        latents = self.encoder(torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]).patches[0].cpu()
        self.encoding.append(time.perf_counter() - began)
        self._known.add(stamp)
        insort(self.frames, Frame(stamp, received, latents), key=lambda frame: frame.stamp)
        if len(self.pictures) < KEPT:
            self.pictures[stamp] = picture

    def feel(self, joints: dict[str, float], stamp: float) -> None:
        """Where the guard told the joints to be, rad, and the gripper."""
        names = self._kinematics.names
        if not set(names) <= set(joints) or not np.isfinite([joints[name] for name in names]).all():
            self.miss("a word of the guard without the arm's joints")
            return
        values = np.array([joints[name] for name in names])
        opening = float(joints.get(GRIPPER, self.contract.config.opening))
        self.readings[stamp] = Reading(stamp, self._kinematics.tool_pose(values), opening), values

    def miss(self, why: str) -> None:
        self.missed[why] = self.missed.get(why, 0) + 1

    def gaps(self) -> dict[str, int]:
        """How many messages the gaps of each stream leave room for; where they were lost, a recording does not tell."""
        stamps = {
            "a frame that is missing in a gap": [frame.stamp for frame in self.frames],
            "a word of the guard that is missing in a gap": self.readings,
            "a status of the guard that is missing in a gap": [stamp for stamp, _ in self.guard],
        }
        return {why: count for why, known in stamps.items() if (count := missing(known))}

    @property
    def arm(self) -> str:
        """Which arm it is that the words of the guard are about."""
        urdf = self.contract.urdf
        return "the embedded arm" if urdf == arm.urdf() else f"'{ET.fromstring(urdf).get('name', '')}', as it was described"

    def history(self) -> History:
        """All of it, as the controller keeps the newest part."""
        history = History(np.inf)
        for frame in self.frames:
            history.see(frame.stamp, frame.latents)
        for stamp in sorted(self.readings):
            history.feel(self.readings[stamp][0])
        return history

    def told_at(self, stamp: float) -> tuple[Array, Array] | None:
        """Where the joints were told to be (6,) rad by the newest word that is not later, and how fast (6,) rad/s since the one before."""
        stamps = sorted(known for known in self.readings if known <= stamp)[-2:]
        if not stamps:
            return None
        last, before = self.readings[stamps[-1]][1], self.readings[stamps[0]][1]
        return last, (last - before) / (stamps[-1] - stamps[0]) if len(stamps) > 1 else np.zeros(len(last))

    def _take(self, heard: Heard, kind: str) -> None:
        try:
            if kind == CAMERA:
                self.see(picture_of(heard), heard.stamp, None if self.played else heard.received)
            elif kind == COMMANDED:
                message = heard.message
                self.feel(dict(zip(message.name, message.position, strict=False)), heard.stamp)
            elif kind == GUARD:
                self.guard.append((heard.stamp, len(heard.message.active_limits) > 0))
        except WmError as error:
            self.miss(error.what)


def missing(stamps: Iterable[float]) -> int:
    """How many stamps (s) the gaps of a regular stream leave room for, by the median of the periods that are there."""
    periods = np.diff(np.unique(np.fromiter(stamps, np.float64)))
    if not len(periods):
        return 0
    long = periods[periods > GAP * np.median(periods)] / np.median(periods)
    return int((np.rint(long) - 1.0).sum())


def replayed(bag: Bag, encoder: Encoder, contract: Contract) -> Replay:
    """A whole bag, from the file alone; it must hold frames and words of the guard."""
    bag.require()
    wanted = [stream for stream in (*contract.config.cameras[:1], contract.config.of(COMMANDED)) if stream is not None]
    streams = {bag.topic(stream.topic): stream.kind for stream in wanted}
    guard = contract.config.of(GUARD)
    if guard is not None and any(topic.endswith(f"/{guard.topic}") for topic in bag.topics):
        streams[bag.topic(guard.topic)] = GUARD
    replay = Replay(encoder, contract)
    for heard in bag.messages():
        if heard.topic in streams:
            replay.hear(heard, streams[heard.topic])
    if bag.broken:
        replay.miss(bag.broken)
    if not replay.frames:
        got = "; ".join(f"{count} x {why}" for why, count in replay.missed.items()) or "no frame"
        raise EvaluationError(f"no frame of {bag.path} can be used", got=got, allowed="pictures of the encoder's size")
    return replay
