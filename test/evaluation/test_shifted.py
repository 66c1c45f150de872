"""Protects shifted sets: the same episodes in a world that looks otherwise, collected once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from small_evaluation import CONFIG

from wm_core import configuration
from wm_core.data.collect import CollectConfig
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_core.evaluation.shifted import collect_shifted
from wm_core.simulation.sim_config import SimConfig


def test_each_scene_is_a_set_of_the_same_motion_in_another_light(tmp_path: Path) -> None:
    shipped = yaml.safe_load((CONFIG / "evaluate.yaml").read_text(encoding="utf-8"))
    scenes = {"dark": {"light_intensity": 0.1}, "as_it_was": {}}
    shipped["data"]["shifted"] |= {"root": "shifted", "scenes": scenes, "episodes": 1}
    path = tmp_path / "evaluate.yaml"
    path.write_text(yaml.safe_dump(shipped), encoding="utf-8")
    how = replace(configuration.read(CollectConfig, CONFIG / "collect.yaml"), frames=3, labelled=False)
    arm = configuration.read(SimConfig, CONFIG / "sim_arm.yaml")
    lines: list[str] = []
    for _ in range(2):
        collect_shifted(path, [], how, arm, lines.append)
    assert len(lines) == len(scenes)  # what is there is not collected again
    description = configuration.read(DatasetConfig, CONFIG / "datasets" / "embedded_arm.yaml")
    dark, usual = (DatasetReader(tmp_path / "shifted" / name, description) for name in scenes)
    rows = np.arange(4)
    assert np.array_equal(dark.actions(0, rows)[0], usual.actions(0, rows)[0])
    assert dark.frames(0, rows[:3], "front").mean() < 0.8 * usual.frames(0, rows[:3], "front").mean()
