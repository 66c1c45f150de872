"""The one error of the embedded ROS: what happened, and what to do about it."""

from __future__ import annotations


class EmbeddedRosError(Exception):
    """Setting up the embedded ROS failed; `remedy` says what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n  what to do: {remedy}")
