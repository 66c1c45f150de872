"""What a replay evaluation measures; config/replay.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting


@dataclass(frozen=True)
class ReplayConfig:
    """How often it is predicted and planned, and how far."""

    stride: float = setting("Time between two beginnings of a prediction", unit="s", low=0.01, high=60.0)
    horizon: int = setting("Frames that are imagined, a step of the model apart", low=1, high=64)
    context: int = setting("Frames that are seen before, where the checkpoint's calibration does not say", low=2, high=64)
    steps: int = setting("Sampling steps K of a frame, where the calibration does not say", low=1, high=64)
    seeds: int = setting("Futures that are averaged, where the calibration does not say", low=1, high=64)
    plans: int = setting("Plans that are made along the recording, evenly; 0: none", low=0, high=10_000)
    ahead: float = setting(
        "A plan's goal is the frame this much later, or the last one where that is nearer", unit="s", low=0.2, high=600.0
    )
    seed: int = setting("What every draw comes from", low=0, high=2**31 - 1)
    quiet: float = setting("Silence after which a replay over topics counts as ended", unit="s", low=0.5, high=600.0)
