"""Everything a training has to find again to go on as if it had never stopped, in a checkpoint's directory.

What is drawn in a step is a function of the seed and the step (schedule.py), so no generator's state has to be kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from wm_core import configuration
from wm_core.errors import CheckpointError
from wm_core.training import optimiser, train_config, trained_on
from wm_core.training.distributed import Processes, whole
from wm_core.training.errors import TrainingError
from wm_core.training.optimiser import Optimisers
from wm_core.training.schedule import learning_rate
from wm_core.training.train_config import DataConfig, TrainConfig
from wm_core.training.trained_on import TrainedOn
from wm_core.world_model import checkpoint
from wm_core.world_model.checkpoint import Checkpoint, Provenance
from wm_core.world_model.ema import Ema
from wm_core.world_model.model_config import ModelConfig
from wm_core.world_model.normalisation import Statistics

STATE = "training_state"
CONFIG = "train_config"
MAY_DIFFER = ("steps", "device", "precision", "strategy", "threads", "log_every", "checkpoint_every", "keep")
LONG = 1_000_000  # updates after which an average forgets its start no faster than its decay says


@dataclass(frozen=True)
class Saving:
    """What a checkpoint tells beside weights and optimiser."""

    config: TrainConfig
    statistics: Mapping[str, Statistics]
    provenance: Provenance
    folder: Path
    seen: tuple[TrainedOn, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a training is: the step that is next, the place in the data, and the metrics last measured."""

    step: int
    source: Mapping[str, int]
    metrics: Mapping[str, float]


def name_of(step: int) -> str:
    """The directory of a checkpoint; they sort by step."""
    return f"step_{step:09d}"


def save(saving: Saving, network: nn.Module, average: Ema, optimisers: Optimisers, progress: Progress, processes: Processes) -> None:
    """Write folder/step_...; all processes take part, the first one writes, and all fail if it cannot."""
    model = {name: whole(value) for name, value in network.state_dict().items()}
    ema = {name: whole(value) for name, value in average.network.state_dict().items()}
    state = optimiser.state_of(optimisers, network)
    error: CheckpointError | None = None
    if processes.first:
        records: dict[str, Any] = {
            STATE: {"step": progress.step, "ema_updates": average.updates, "source": dict(progress.source)},
            CONFIG: train_config.record(saving.config),
        }
        if saving.seen:
            records[trained_on.RECORD] = trained_on.record(saving.seen)
        provenance = replace(saving.provenance, step=progress.step, metrics=dict(progress.metrics))
        config = saving.config.world_model
        error = _written(saving, Checkpoint(config, model, ema, saving.statistics, provenance, {STATE: state}, records))
    failed = float(processes.total(torch.tensor(float(error is not None), device=processes.device)))
    if error is not None:
        raise error
    if failed:
        raise TrainingError("the first process could not write the checkpoint", got=name_of(progress.step), mend="see its own error")


def _written(saving: Saving, whole_checkpoint: Checkpoint) -> CheckpointError | None:
    name = name_of(whole_checkpoint.provenance.step)
    try:
        checkpoint.save(saving.folder, name, whole_checkpoint)
        _forget_old(saving.folder, saving.config.run.keep)
    except CheckpointError as error:
        return error
    except (SafetensorError, OSError) as error:
        shutil.rmtree(saving.folder / f".{name}.partial", ignore_errors=True)
        mend = f"free space or rights under {saving.folder}, then go on with --resume"
        return CheckpointError("the checkpoint cannot be written", got=error, mend=mend)
    return None


def _forget_old(folder: Path, keep: int) -> None:
    """Remove all but the newest; first out of sight, so that a kill leaves no half of one to be found."""
    for old in sorted(folder.glob("step_*"))[:-keep]:
        hidden = old.with_name(f".{old.name}.removed")
        os.rename(old, hidden)
    for hidden in folder.glob(".step_*.removed"):
        shutil.rmtree(hidden)


def restore(saved: Checkpoint, network: nn.Module, average: Ema) -> tuple[int, dict[str, int]]:
    """Weights into network and average, before they are shared out; the step that is next, and the place in the data."""
    try:
        record = saved.records[STATE]
        step, updates = int(record["step"]), int(record["ema_updates"])
        source = {str(key): int(value) for key, value in record["source"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        mend = "resume from a checkpoint that training wrote"
        raise CheckpointError("the checkpoint has no state of a training", got=f"{STATE}: {error!r}", mend=mend) from error
    checkpoint.fill(network, saved.model, "model")
    checkpoint.fill(average.network, saved.ema, "ema")
    average.updates = updates
    return step, source


def begin(start: Checkpoint, network: nn.Module, average: Ema) -> None:
    """The averaged weights of another training into network and average, which moves as slowly as at that training's end."""
    for each in (network, average.network):
        checkpoint.fill(each, start.ema, "ema")
    average.updates = LONG


def require_same(
    saved: Checkpoint, config: TrainConfig, what: str = "the training to resume", may_differ: Sequence[str] = MAY_DIFFER
) -> None:
    """Refuse to take a training for another one; of config.run may differ how it is carried out, and how long, see `other_length`."""
    earlier = _config_of(saved)
    settled = replace(earlier, run=replace(earlier.run, **{name: getattr(config.run, name) for name in may_differ}))
    if settled == config:
        return
    got, allowed = _apart(settled, config)
    mend = "restore the values, or train in a new directory"
    raise TrainingError(
        f"{what} was configured otherwise",
        got=got or "another curriculum or other data.sources",
        allowed=allowed,
        mend=mend,
    )


def other_length(saved: Checkpoint, config: TrainConfig, step: int) -> list[str]:
    """A line where the training goes on at `step` for another number of steps than it was begun for, which the learning rate follows."""
    lengths = _config_of(saved).run.steps, config.run.steps
    if lengths[0] == lengths[1] or config.optimiser.final_fraction == 1.0:
        return []
    before, now = (learning_rate(step, length, config.optimiser) for length in lengths)
    return [
        f"run.steps was {lengths[0]} and is {lengths[1]}: the learning rate, which falls until the last step, goes on at {now:.3g} "
        f"and not at {before:.3g}"
    ]


def require_same_data(saved: Checkpoint, provenance: Provenance, data: DataConfig) -> None:
    """Refuse to go on with other clips than the training was begun with; both know a hash of each source, in order."""
    before, now = saved.provenance.data_hash, provenance.data_hash
    if before == now:
        return
    parts = zip(data.sources, before.split("-"), now.split("-"), strict=False)
    changed = ", ".join(one.root for one, old, new in parts if old != new)
    raise TrainingError(
        "the data are not those that the training to resume was begun with",
        got=f"changed since: {changed}" if len(before) == len(now) else "a checkpoint of an earlier version, which does not tell them",
        mend="restore datasets and descriptions, or train on with what is there now (--start this checkpoint, in a new directory)",
    )


def require_shape(start: Checkpoint, model: ModelConfig) -> None:
    """Refuse to begin with the weights of a network of another shape."""
    if start.config.model != model:
        got, allowed = _apart(start.config.model, model)
        raise TrainingError("the model is not of the shape of what it is to begin with", got=got, allowed=allowed, mend="change `model`")


def _config_of(saved: Checkpoint) -> TrainConfig:
    return configuration.build(TrainConfig, saved.records.get(CONFIG, {}), f"the checkpoint's {CONFIG}.json")


def _apart(before: object, now: object) -> tuple[str, str]:
    """The settings in which two configurations of one class differ, as they are `now` and as they were `before`."""
    old, new = (configuration.flatten(one) for one in (before, now))
    differing = [name for name in new if name not in old or old[name][0] != new[name][0]]
    was = ", ".join(f"{name}: {old[name][0]}" for name in differing if name in old)
    return ", ".join(f"{name}: {new[name][0]}" for name in differing), was
