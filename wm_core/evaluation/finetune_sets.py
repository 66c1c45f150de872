"""The sets of a fine-tuning: what is trained on, and the held-out episodes of which one half is watched and the other judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wm_core import configuration
from wm_core.data.clip import Preprocessing
from wm_core.data.skips import Skip
from wm_core.errors import CheckpointError, ConfigurationError
from wm_core.evaluation.evaluate_config import EvaluateConfig, EvaluationData, SetConfig
from wm_core.evaluation.finetune_config import FinetuneConfig, TuningSet
from wm_core.evaluation.held_out import HeldOut, Request, Whole
from wm_core.evaluation.sets import Say, TokenSet, open_set
from wm_core.training.errors import TrainingError
from wm_core.training.train_config import DataConfig, RunConfig, SourceConfig, TrainConfig
from wm_core.vision.encoder import Encoder
from wm_core.world_model.checkpoint import Checkpoint

RECORD = "train_config"


def train_config(config: FinetuneConfig, start: Checkpoint) -> TrainConfig:
    """The training that `start` came from, with other data but pictures brought to size as they were, shorter and slower.

    It is at the end of its curriculum from the beginning on.
    """
    if RECORD not in start.records:
        mend = "use a checkpoint that `wm train` wrote"
        raise CheckpointError("the checkpoint does not tell how it was trained", got=f"no {RECORD}.json", mend=mend)
    before = configuration.build(TrainConfig, start.records[RECORD], f"the checkpoint's {RECORD}.json")
    run, own = config.run, config.data
    mixture = replace(before.data.mixture, unlabelled_per_labelled=0.0, held_out=own.held_out, seed=run.seed)
    rate = run.learning_rate_share * before.optimiser.learning_rate
    optimiser = replace(before.optimiser, learning_rate=rate, warmup_steps=run.warmup_steps, final_fraction=run.final_fraction)
    return replace(
        before,
        model=start.config.model,
        objective=replace(start.config.objective, bootstrap_start=0, ema_decay=run.ema_decay),
        data=DataConfig(
            sources=sources(config),
            encoder=own.encoder,
            cache=own.cache,
            clip=before.data.clip,
            cache_bits=own.cache_bits,
            workers=own.workers,
            preprocessing=before.data.preprocessing,
            mixture=mixture,
        ),
        run=RunConfig(
            steps=run.steps,
            batch=run.batch,
            global_batch=run.batch,
            seed=run.seed,
            device=run.device,
            precision=before.run.precision,
            threads=run.threads,
            log_every=min(50, config.monitor.every),
            checkpoint_every=config.monitor.every,
            keep=2,
        ),
        curriculum=(replace(before.curriculum[-1], from_step=0),),
        optimiser=optimiser,
    )


def sources(config: FinetuneConfig) -> tuple[SourceConfig, ...]:
    """All sets that are trained on, with weights such that old clips have their share."""
    own = config.data
    return (*_sources(own.new, 1.0 - own.old_share), *(_sources(own.old, own.old_share) if own.old else ()))


def _sources(sets: Sequence[TuningSet], share: float) -> tuple[SourceConfig, ...]:
    total = sum(one.weight for one in sets)
    if total <= 0.0:
        raise ConfigurationError("the sets of one kind have no weight", got=f"{len(sets)} sets", mend="raise a weight in data")
    return tuple(SourceConfig(one.root, one.description, True, share * one.weight / total, one.tool_state) for one in sets)


@dataclass(frozen=True)
class Held:
    """One set with its held-out episodes: those that are watched while it trains, and those that are judged on."""

    name: str
    tokens: TokenSet
    watched: Whole
    judged: Whole

    def clips(self, episodes: Whole, request: Request, skipped: Callable[[Skip], None]) -> HeldOut:
        return replace(self.tokens, episodes=episodes).clips(request, skipped)


def evaluations(config: FinetuneConfig, preprocessing: Preprocessing) -> dict[str, tuple[EvaluateConfig, ...]]:
    """What the verdicts on the sets of each kind, new and old, rest on; pictures are brought to size as in training."""
    own, held_out = config.data, config.data.held_out
    new = [(one, held_out) for one in own.new]
    old = [(one, 0.0) for one in own.reference] or [(one, held_out) for one in own.old]
    return {kind: tuple(_evaluation(config, preprocessing, *one) for one in sets) for kind, sets in (("new", new), ("old", old))}


def _evaluation(config: FinetuneConfig, preprocessing: Preprocessing, one: TuningSet, share: float) -> EvaluateConfig:
    own, seed = config.data, config.run.seed
    data = EvaluationData(
        labelled=SetConfig(one.root, one.description, share, seed, one.tool_state),
        encoder=own.encoder,
        cache=own.cache,
        cache_bits=own.cache_bits,
        preprocessing=preprocessing,
    )
    bars = replace(config.bars, plan_rank=None)  # only a simulator can try plans out
    measured = config.error, config.sampling, config.calibration
    return EvaluateConfig(data, *measured, bars, seed=seed, threads=config.run.threads, device=config.run.device)


def opened(
    sets: tuple[EvaluateConfig, ...], beside: Path, encoder: Encoder, seed: int, skipped: Callable[[Skip], None], say: Say
) -> tuple[Held, ...]:
    """The sets of one kind."""
    return tuple(_held(one, beside, encoder, seed, skipped, say) for one in sets)


def _held(one: EvaluateConfig, beside: Path, encoder: Encoder, seed: int, skipped: Callable[[Skip], None], say: Say) -> Held:
    tokens = open_set(one.data, one.data.labelled, beside, encoder, skipped, say)
    shuffled = np.random.default_rng([19, seed]).permutation(tokens.episodes)
    half = len(shuffled) // 2
    if not half:
        root, got = one.data.labelled.root, f"{len(shuffled)} of {len(tokens.reader.metadata)} episodes"
        raise TrainingError(f"too few episodes of {root} are held out", got=got, allowed="2 or more", mend="data.held_out, or record more")
    return Held(Path(one.data.labelled.root).name, tokens, np.sort(shuffled[:half]), np.sort(shuffled[half:]))


def joined(parts: Sequence[HeldOut]) -> HeldOut:
    """Clips of several sets, as long as the shortest of them, whose episodes are told apart."""
    horizon = min(part.horizon for part in parts)
    cut = [part.until(horizon) for part in parts]
    state = None if any(part.state is None for part in cut) else torch.cat([part.state for part in cut if part.state is not None])
    offsets = np.cumsum([0, *(int(part.episodes.max()) + 1 for part in cut[:-1])])

    def stored(episode: int, rows: Whole) -> NDArray[Any]:
        index = int(np.searchsorted(offsets, episode, side="right")) - 1
        return cut[index].stored(episode - int(offsets[index]), rows)

    return replace(
        cut[0],
        stored=stored,
        actions=torch.cat([part.actions for part in cut]),
        known=torch.cat([part.known for part in cut]),
        state=state,
        episodes=np.concatenate([part.episodes + offset for part, offset in zip(cut, offsets, strict=True)]),
        rows=np.concatenate([part.rows for part in cut]),
    )
