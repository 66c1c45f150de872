"""The errors of wm_ros: each says what happened, what was got, what is allowed, and where to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WmError(Exception):
    """Root of every error that wm_ros raises on purpose; nodes and the command line turn it into one message."""

    def __init__(self, what: str, *, got: object = None, allowed: str = "", mend: str = "") -> None:
        self.what, self.got, self.allowed, self.mend = what, got, allowed, mend
        parts = [what]
        if got is not None:
            parts.append(f"got: {got}")
        if allowed:
            parts.append(f"allowed: {allowed}")
        if mend:
            parts.append(f"mend: {mend}")
        super().__init__("; ".join(parts))


class ConfigurationError(WmError):
    """A YAML file or parameter that does not describe a valid configuration."""


class RobotModelError(WmError):
    """A robot description that is unreadable or not a 6-DoF arm with the limits that are needed."""


class SimulationError(WmError):
    """The embedded arm was asked for something it cannot do."""


class WorldModelError(WmError):
    """Latents, actions or labels that the world model cannot take."""


class CheckpointError(WmError):
    """A checkpoint that is missing, damaged, or made for something else than what runs."""


class VisionError(WmError):
    """An encoder, a decoder or their weights that do not fit the pictures or tokens they are given."""


class PlanningError(WmError):
    """A search that cannot be made: limits that leave nothing, scores that are not numbers, sizes that disagree."""


class GoalError(WmError):
    """A picture or a name that is not a goal."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence fragment that names the known word closest to `name`, for error messages."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.4)
    return f"nearest: {close[0]}" if close else f"known: {', '.join(known)}"
