"""Whether the episodes of an evaluation were kept back from the checkpoint's training, as far as the checkpoint tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wm_core import configuration
from wm_core.data import metadata
from wm_core.data.dataset_config import DatasetConfig
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate_config import EvaluationData, SetConfig
from wm_core.training import trained_on
from wm_core.training.trained_on import TrainedOn
from wm_core.world_model.checkpoint import Checkpoint


def require_unseen(loaded: Checkpoint, data: EvaluationData, beside: Path) -> None:
    """Refuse sets that the checkpoint was trained on, but for the episodes that its training kept back; paths begin at `beside`."""
    seen = trained_on.told(loaded, beside)
    for setting, one in (("data.labelled", data.labelled), ("data.unlabelled", data.unlabelled)):
        if seen and one.root:
            _require(seen, one, beside, setting)


def _require(seen: Sequence[TrainedOn], one: SetConfig, beside: Path, setting: str) -> None:
    root = beside / Path(one.root).expanduser()
    content = metadata.load(root).fingerprint
    name = configuration.read(DatasetConfig, beside / one.description).name
    for was in (was for was in seen if was.is_at(root, content)):
        if was.held_out == 0.0:
            raise EvaluationError(
                f"the model was trained on every episode of {root}",
                got=f"{setting}.root: {one.root}",
                allowed="a set that no training saw, or one of which the training kept episodes back (its data.mixture.held_out)",
                mend=f"change {setting}.root",
            )
        now = {"held_out": one.held_out, "seed": one.seed, "name": name}
        then = {"held_out": was.held_out, "seed": was.seed, "name": was.name or name}
        differing = [key for key in now if now[key] != then[key]]
        if differing:
            raise EvaluationError(
                f"the model was trained on {root}, and other episodes were kept back than are asked for",
                got=", ".join(f"{key}: {now[key]}" for key in differing),
                allowed=", ".join(f"{key}: {then[key]}" for key in differing),
                mend=f"set {setting}.held_out, {setting}.seed and the name in {one.description} as they were in the training",
            )
