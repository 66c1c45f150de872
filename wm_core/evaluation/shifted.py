"""Datasets of a world that looks otherwise than in training: another lamp, another place of the camera, other colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from wm_core import configuration
from wm_core.data.collect import CollectConfig, collect
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.simulation.sim_config import SimConfig
from wm_core.training.overrides import overridden


def collect_shifted(path: Path, overrides: Sequence[str], how: CollectConfig, arm: SimConfig, say: Callable[[str], None]) -> None:
    """Collect, as `how` says, the sets under `data.shifted` of the evaluation at `path` that are not there yet."""
    shifted = overridden(configuration.read(EvaluateConfig, path), overrides).data.shifted
    for name, scene in shifted.scenes.items():
        out = path.parent / Path(shifted.root).expanduser() / name
        if not out.exists():
            report = collect(replace(how, episodes=shifted.episodes, labelled=True), replace(arm, scene=scene), out)
            say(report.text())
