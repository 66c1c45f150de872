"""What the camera saw in one trial: some frames from the first to the last, and beside them the goal."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from wm_core.evaluation.control import Trial
from wm_core.simulation.camera import Picture

GAP, LARGEST = 4, 192  # pixels: between frames, and the height of a strip
FRAME, REACHED, MISSED = (225, 225, 225), (60, 160, 60), (200, 60, 60)  # RGB around the frames, and around the goal


def write(path: Path, trial: Trial, goal: Picture) -> None:
    """A PNG; the goal's border is green after a success and red otherwise."""
    shown = [_bordered(frame, FRAME) for frame in trial.frames]
    strip = np.concatenate([*shown, _bordered(goal, REACHED if trial.success else MISSED)], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))


def _bordered(frame: Picture, colour: tuple[int, int, int]) -> Picture:
    times = max(1, LARGEST // frame.shape[0])
    larger = np.repeat(np.repeat(frame, times, axis=0), times, axis=1)
    framed = cv2.copyMakeBorder(larger, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=colour)
    return np.asarray(framed, dtype=np.uint8)
