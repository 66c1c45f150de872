"""What is asked of a controller, and the coded answers to what cannot be done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from wm_core.data import metadata
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import DatasetError
from wm_core.data.metadata import Metadata
from wm_core.data.picture import Mask
from wm_core.data.reader import DatasetReader
from wm_core.errors import GoalError, VisionError, WmError
from wm_core.planning.goal import Goal, Picture, goal_of_file, goal_of_frame, goal_of_picture, masked
from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.pursuit import PursuitConfig
from wm_core.vision.encoder import Encoder

DEFAULT = "default"


class Code(IntEnum):
    """The numbers are those of PlanToGoal."""

    SUCCESS = 0
    GOAL_INVALID = 1
    GOAL_UNKNOWN = 2
    ENCODER_MISMATCH = 3
    OBSERVATION_STALE = 4
    NOT_ARMED = 5
    BUSY = 6
    UNCERTAIN = 7
    MODEL_UNAVAILABLE = 8
    NOT_READY = 9
    INTERNAL = 10


class RefusedError(WmError):
    """A request that is answered with a code."""

    def __init__(self, code: Code, what: str, *, got: object = None, allowed: str = "", mend: str = "") -> None:
        super().__init__(what, got=got, allowed=allowed, mend=mend)
        self.code = code

    @staticmethod
    def of(code: Code, error: WmError) -> RefusedError:
        """The same words under a code."""
        return RefusedError(code, error.what, got=error.got, allowed=error.allowed, mend=error.mend)


@dataclass(frozen=True)
class GoalRequest:
    """Exactly one goal: a picture, an image file, a frame of `PATH#INDEX`, or else a name of the library; zeros keep what is configured.

    mask: what counts of a goal that is not of the library, which keeps the masks of its own.
    """

    picture: Picture | None = None
    mask: Mask | None = None
    path: str = ""
    name: str = ""
    episode: str = ""
    frame: int = 0
    camera: str = ""
    tolerance: float = 0.0
    timeout: float = 0.0
    execute: bool = False
    replace: bool = False

    def __post_init__(self) -> None:
        given = {"goal_image": self.picture is not None, "goal_path": self.path, "goal_name": self.name, "episode": self.episode}
        named = [name for name, there in given.items() if there]
        if len(named) > 1:
            raise RefusedError(Code.GOAL_INVALID, "several goals were given", got=" and ".join(named), allowed="one of them")
        if self.mask is not None and (self.name or not named):
            allowed = "goal_image, goal_path or episode"
            mend = "save the goal again with its mask"
            raise RefusedError(Code.GOAL_INVALID, "a goal of the library has the mask it was saved with", allowed=allowed, mend=mend)
        if not (0.0 <= self.tolerance <= 1.0) or not (0.0 <= self.timeout <= 3600.0):
            got = f"tolerance {self.tolerance:g}, timeout {self.timeout:g} s"
            raise RefusedError(
                Code.GOAL_INVALID, "the goal's bounds make no sense", got=got, allowed="0 .. 1, and 0 .. 3600 s; 0: as configured"
            )

    def pursuit(self, configured: PursuitConfig) -> PursuitConfig:
        """When this goal counts as reached, and when it is given up."""
        timeout = self.timeout or configured.timeout
        patience = min(configured.patience, timeout)
        return replace(configured, tolerance=self.tolerance or configured.tolerance, timeout=timeout, patience=patience)


def find_goal(request: GoalRequest, encoder: Encoder, library: GoalLibrary, camera: str) -> Goal:
    """The goal of a request, as `encoder` sees it; `camera` is the one that watches."""
    if request.camera not in camera:
        raise RefusedError(Code.GOAL_INVALID, "the controller does not watch through that camera", got=request.camera, allowed=camera)
    try:
        goal = _pictured(request, encoder, camera)
        if goal is not None:
            return goal if request.mask is None else masked(goal, request.mask, encoder.preprocessing)
    except (GoalError, VisionError) as error:
        raise RefusedError.of(Code.GOAL_INVALID, error) from error
    return _named(request.name or DEFAULT, encoder, library)


def _pictured(request: GoalRequest, encoder: Encoder, camera: str) -> Goal | None:
    """The goal of a picture, a file or a frame; None where a name is asked for."""
    if request.picture is not None:
        return goal_of_picture(encoder, request.picture, "picture")
    if request.path:
        return goal_of_file(encoder, _path(request.path))
    return _of_episode(request, encoder, camera) if request.episode else None


def _path(text: str) -> Path:
    """A path on this machine; one that cannot even be looked at is refused: too long, of a user who is not known, in a closed folder."""
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise GoalError("there can be no goal", got=f"{text[:80]}: {error}", mend="give a path that this machine can read") from error
    return path


def _named(name: str, encoder: Encoder, library: GoalLibrary) -> Goal:
    code = Code.GOAL_INVALID if name in library.names() else Code.GOAL_UNKNOWN
    try:
        goal = library.load(name)
        code = Code.ENCODER_MISMATCH
        goal.require_encoder(encoder.name, encoder.weight_hash)
    except GoalError as error:
        raise RefusedError.of(code, error) from error
    return goal


def _of_episode(request: GoalRequest, encoder: Encoder, camera: str) -> Goal:
    folder, _, number = request.episode.rpartition("#")
    if not folder or not number.isdecimal():
        raise RefusedError(Code.GOAL_UNKNOWN, "that is no episode", got=request.episode, allowed="PATH#INDEX")
    try:
        known = metadata.load(_path(folder))
        key = _camera_of(known, camera)
        reader = DatasetReader(known.root, DatasetConfig(known.root.name, known.fps, {"goal": key}))
        episode, lengths = int(number), known.length
        if episode < len(known) and not 0 <= request.frame < int(lengths[episode]):
            raise RefusedError(
                Code.GOAL_UNKNOWN, "the episode has no such frame", got=request.frame, allowed=f"0 .. {int(lengths[episode]) - 1}"
            )
        return goal_of_frame(encoder, reader, episode, request.frame, "goal")
    except (DatasetError, GoalError) as error:
        raise RefusedError.of(Code.GOAL_UNKNOWN, error) from error


def _camera_of(known: Metadata, camera: str) -> str:
    """The pictures of the camera that watches, or of the only one there is."""
    keys = known.cameras()
    matching = [key for key in keys if key.rsplit(".", 1)[-1] in camera] if len(keys) > 1 else keys
    if len(matching) != 1:
        raise RefusedError(Code.GOAL_UNKNOWN, "the dataset does not say which of its cameras watches", got=", ".join(keys), allowed=camera)
    return matching[0]
