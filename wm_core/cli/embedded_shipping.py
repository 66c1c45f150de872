"""What of an embedded model ships: the encoder, the decoder, and of the world model what imagining needs, with its numbers in bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from wm_core.data.skips import Skips
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.followed_ranges import ranges_on
from wm_core.evaluation.sets import open_encoder, open_set, rate
from wm_core.planning.goal import Goal
from wm_core.planning.goal_library import GoalLibrary
from wm_core.training.embedded_encoder import STATE
from wm_core.world_model import byte_ranges, checkpoint
from wm_core.world_model.onnx_nodes import Ranges
from wm_core.world_model.world_model import WorldModel, directory

KEPT = ("calibration.json", "verdict.json")


def ship(parts: dict[str, Path], goal: Goal, config: EvaluateConfig, beside: Path, out: Path, say: Callable[[str], None]) -> None:
    """Write `out` from the folders of `encoder`, `decoder` and `world_model` and a goal, whole or not at all."""
    growing = out.with_name(f".{out.name}.growing")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    for name in ("encoder", "decoder"):
        shutil.copytree(parts[name], growing / name, ignore=shutil.ignore_patterns(STATE))
    GoalLibrary(growing / "goals").save(goal)
    source = directory(parts["world_model"])
    place = checkpoint.save(growing, "world_model", checkpoint.served(checkpoint.load(source)))
    for name in KEPT:
        if (source / name).is_file():
            shutil.copy(source / name, place / name)
    model = WorldModel.open(place)
    byte_ranges.write(place, measured(model, config, beside, say), model.hash)
    shutil.rmtree(out, ignore_errors=True)
    growing.rename(out)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    say(f"{out}: {total / 1e6:.1f} MB")


def measured(model: WorldModel, config: EvaluateConfig, beside: Path, say: Callable[[str], None]) -> Ranges:
    """How large the numbers in the layers become on held-out clips, on every grid, with few and many sampling steps."""
    skips = Skips(say)
    tokens = open_set(config.data, config.data.labelled, beside, open_encoder(config.data, beside, config.torch_device()), skips.add, say)
    return ranges_on(model, tokens, rate(config.data, model), config.seed, skips.add)
