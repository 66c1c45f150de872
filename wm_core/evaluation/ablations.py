"""What each part of the recipe is worth: variants of one training, equally long, side by side: `wm ablations`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.data.skips import Skips
from wm_core.evaluation import imagined
from wm_core.evaluation.action_response import ActionResponse, action_response, sequences
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.held_out import HeldOut, Request
from wm_core.evaluation.imagined import Draw, recorded
from wm_core.evaluation.latent_error import LatentError, latent_error
from wm_core.evaluation.sets import model_of, open_encoder, open_set, rate
from wm_core.evaluation.unseen import require_unseen
from wm_core.training import train_config, world_model_state
from wm_core.training.overrides import overridden
from wm_core.training.train import train
from wm_core.world_model import checkpoint
from wm_core.world_model.world_model import WorldModel

Say = Callable[[str], None]
FILE, PAGE = "ablations.json", "ablations.md"
MAY_DIFFER = tuple(name for name in world_model_state.MAY_DIFFER if name != "steps")


@dataclass(frozen=True)
class VariantConfig:
    """One variant: the training with some settings changed."""

    name: str = setting("what the table calls it")
    changes: tuple[str, ...] = setting("settings of the training in place of the file's, as NAME=VALUE")


@dataclass(frozen=True)
class AblationsConfig:
    """Variants of one training, and how they are compared; config/ablations.yaml carries them."""

    training: str = setting("YAML of the training that all are variants of, relative to this file")
    evaluation: str = setting("YAML of the evaluation whose held-out clips they are compared on, relative to this file")
    steps: int = setting("training steps of each", low=1, high=100_000_000)
    variants: tuple[VariantConfig, ...] = setting("the variants; each has name and changes")
    changes: tuple[str, ...] = setting("settings of the training that all variants share, as NAME=VALUE", default=())
    sampling_steps: tuple[int, ...] = setting(
        "numbers of sampling steps K that a model with noise is sampled with", low=1, high=1024, default=(1, 4)
    )

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if not names or len(set(names)) != len(names):
            raise EvaluationError("the variants do not have names of their own", got=names, allowed="one or more, all different")


@dataclass(frozen=True)
class Ablation:
    """One variant, sampled with K = `steps`; seconds of wall time that its training took, None where a kill left that unknown."""

    name: str
    changes: tuple[str, ...]
    steps: int
    seconds: float | None
    error: LatentError
    actions: ActionResponse
    spread: tuple[float, ...]


@dataclass(frozen=True)
class Ablations:
    """All variants after equally many training steps, on the same held-out clips."""

    training_steps: int
    rows: tuple[Ablation, ...]


def ablate(path: Path, overrides: Sequence[str], out: Path, say: Say) -> Ablations:
    """Train and compare the variants that the YAML at `path` describes; a variant that was trained in `out` before is not trained again."""
    config = overridden(configuration.read(AblationsConfig, path), overrides)
    evaluation = path.parent / config.evaluation
    settings = configuration.read(EvaluateConfig, evaluation)
    clips: HeldOut | None = None
    rows: list[Ablation] = []
    for variant in config.variants:
        seconds = _train(config, variant, path.parent, out / variant.name, say)
        loaded = checkpoint.load(checkpoint.newest(out / variant.name))
        require_unseen(loaded, settings.data, evaluation.parent)
        model = model_of(settings, loaded)
        if clips is None:
            clips = _clips(settings, evaluation.parent, model, say)
        rows += [_row(variant, model, clips, settings, steps, seconds) for steps in _steps(config, model)]
        say(f"{variant.name}: trained in {_told(seconds)} s")
    result = Ablations(config.steps, tuple(rows))
    (out / FILE).write_text(json.dumps(asdict(result), indent=1, allow_nan=False), encoding="utf-8")
    (out / PAGE).write_text(table(result), encoding="utf-8")
    return result


def table(ablations: Ablations) -> str:
    """The variants as Markdown, errors in units of copying the last frame."""
    shown = [horizon for horizon in (1, 5, 10, 20) if horizon <= len(ablations.rows[0].error.ratio)]
    heads = ["variant", "K", *(f"error, h = {horizon}" for horizon in shown), "action gain", "spread, last h", "training, s"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in ablations.rows:
        errors = [f"{part.value:.3f} ({part.low:.3f} .. {part.high:.3f})" for part in (row.error.ratio[horizon - 1] for horizon in shown)]
        cells = [row.name, str(row.steps), *errors, f"{row.actions.gain_overall.value:.2f}", f"{row.spread[-1]:.3f}", _told(row.seconds)]
        lines.append(f"| {' | '.join(cells)} |")
    first = ablations.rows[0].error
    where = f"{first.clips} clips of {first.episodes} held-out episodes, {first.context} frames seen"
    note = f"After {ablations.training_steps} training steps; {where}. Error / copying's, 90 % intervals over episodes."
    return "\n".join(["# Ablations", "", note, "", *lines, ""])


def _train(config: AblationsConfig, variant: VariantConfig, beside: Path, folder: Path, say: Say) -> float | None:
    """Train the variant if no training of it is there; seconds that it took, as the training's own folder remembers.

    None: it was killed on its way or before they were written down. A training of another variant, or of other steps, is refused.
    """
    clock, begun = folder / "seconds.json", any(folder.glob("step_*"))
    changes = [f"run.steps={config.steps}", f"run.checkpoint_every={config.steps}", *config.changes, *variant.changes]
    if begun:
        saved, wanted = checkpoint.load(checkpoint.newest(folder)), train_config.read(beside / config.training, changes)
        world_model_state.require_same(saved, wanted, f"the variant '{variant.name}' in {folder}", MAY_DIFFER)
    if not clock.exists():
        begin = time.perf_counter()
        train(beside / config.training, changes, folder, resume=begun, dry=False, say=say)
        clock.write_text(json.dumps(None if begun else time.perf_counter() - begin), encoding="utf-8")
    seconds: float | None = json.loads(clock.read_text(encoding="utf-8"))
    return seconds


def _told(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.0f}"


def _clips(settings: EvaluateConfig, beside: Path, model: WorldModel, say: Say) -> HeldOut:
    encoder = open_encoder(settings.data, beside, settings.torch_device())
    model.require_encoder(encoder.name, encoder.weight_hash)
    skips = Skips(say)
    tokens = open_set(settings.data, settings.data.labelled, beside, encoder, skips.add, say)
    error = settings.error
    return tokens.clips(Request(error.clips, error.context, error.horizon, rate(settings.data, model), settings.seed), skips.add)


def _steps(config: AblationsConfig, model: WorldModel) -> tuple[int, ...]:
    """As asked for; a model without noise takes one step to wherever it goes."""
    return tuple(dict.fromkeys(model.config.objective.steps_for(steps) for steps in config.sampling_steps))


def _row(
    variant: VariantConfig, model: WorldModel, clips: HeldOut, settings: EvaluateConfig, steps: int, seconds: float | None
) -> Ablation:
    seeds = 1 if model.config.objective.kind == "deterministic" else settings.error.seeds
    draw = Draw(seeds, steps, model.grids[0])
    errors = imagined.measure(model, clips, recorded(clips), draw)
    near, fewer = clips.until(settings.error.response_horizon), replace(draw, seeds=min(seeds, settings.error.response_seeds))
    response = action_response(imagined.measure(model, near, sequences(near, settings.seed), fewer), fewer)
    spread = tuple(errors.spread[:, 0].mean(0).tolist())
    return Ablation(variant.name, variant.changes, steps, seconds, latent_error(errors, draw, clips.context), response, spread)
