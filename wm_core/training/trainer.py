"""The training loop: batches of latents to a world model, step by step, such that it can stop and go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from tqdm import tqdm

from wm_core.training import optimiser, trained_on, world_model_state
from wm_core.training.clips import ClipSource, LatentClips, normalised
from wm_core.training.distributed import ALONE, Processes, gradient_sync, spread, whole
from wm_core.training.errors import DivergenceError, TrainingError
from wm_core.training.metrics_log import MetricsLog
from wm_core.training.precision import autocast
from wm_core.training.rollout_loss import Ahead, rollout_loss
from wm_core.training.running_mean import RunningMean
from wm_core.training.schedule import generator_of, learning_rate, seed_everything, stage_at, world_model_at
from wm_core.training.train_config import TrainConfig
from wm_core.training.trained_on import TrainedOn
from wm_core.training.world_model_state import Progress, Saving
from wm_core.world_model import checkpoint
from wm_core.world_model.checkpoint import Provenance
from wm_core.world_model.ema import Ema
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.objective import Loss, training_loss
from wm_core.world_model.reckoning import reckoning_of
from wm_core.world_model.transformer import Transformer

LOSS_TERMS = (("forcing", "inference"), ("flow", "bootstrap"), ("labelled", "unlabelled"))
ERRORS = tuple(f"error/{pattern}/{branch}/{kind}" for pattern, branch, kind in product(*LOSS_TERMS))
METRICS = (*ERRORS, "gradient_norm", "learning_rate", "loss", "rollout_loss")


class Trainer:
    """A training in `folder`; made with `resume` it is the one that stopped there, else it begins with the averaged weights of `start`.

    Its checkpoints tell which datasets were `seen`, now and by whatever it began with. `notes` are lines
    that whoever resumed it should read.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: ClipSource,
        statistics: Mapping[str, Statistics],
        provenance: Provenance,
        folder: Path,
        processes: Processes = ALONE,
        resume: bool = False,
        start: checkpoint.Checkpoint | None = None,
        seen: Sequence[TrainedOn] = (),
    ) -> None:
        self.config, self.source, self.statistics, self.processes = config, source, dict(statistics), processes
        self.step, self.notes = 0, list[str]()
        torch.manual_seed(config.run.seed)
        self.network = Transformer(config.model)
        self.average = Ema(self.network, config.objective.ema_decay)
        saved = self._found(folder, resume)
        if saved is not None:
            world_model_state.require_same(saved, config)
            saved.require_encoder(provenance.encoder, provenance.encoder_hash)
            world_model_state.require_same_data(saved, provenance, config.data)
            self.step, place = world_model_state.restore(saved, self.network, self.average)
            self.notes = world_model_state.other_length(saved, config, self.step)
            source.load_state_dict(place)
            self.statistics = dict(saved.statistics)
        elif start is not None:
            world_model_state.begin(start, self.network, self.average)
        self.network.to(processes.device).train()
        self.average.network.to(processes.device)
        self._student = spread(self.network, self.average.network, config.run.strategy, processes)
        self._teacher = cast(Transformer, self.average.network)
        self._optimisers = optimiser.build(self.network, config.optimiser)
        if saved is not None:
            optimiser.restore(self._optimisers, self.network, saved.tensors.get(world_model_state.STATE, {}))
        ever = dict.fromkeys((*trained_on.written(saved or start), *seen))
        self._saving = Saving(config, self.statistics, provenance, folder, tuple(ever))
        self._window = RunningMean(METRICS, processes)

    def run(self, until: int | None = None, progress: bool = True) -> dict[str, float]:
        """Train up to step `until` (default: the configuration's last); returns the last line of metrics."""
        run, metrics = self.config.run, dict[str, float]()
        until = min(run.steps, until or run.steps)
        log = MetricsLog(self._saving.folder, self.step) if self.processes.first else None
        bar = tqdm(total=until, initial=self.step, unit="step", disable=not (progress and self.processes.first))
        batches = iter(self.source)
        try:
            while self.step < until:
                self._window.add(self.train_step(batches))
                bar.update()
                if self.step % run.log_every == 0 or self.step == until:
                    metrics = self._window.result()
                    bar.set_postfix(loss=f"{metrics['loss']:.4f}")
                    if log is not None:
                        log.write(self.step, metrics)
                if self.step % run.checkpoint_every == 0 or self.step == until:
                    self.save(metrics)
        finally:
            bar.close()
            if log is not None:
                log.close()
        return metrics

    def train_step(self, batches: Iterator[LatentClips]) -> dict[str, Tensor]:
        """One update of the weights; sums and counts (2,) of what it saw."""
        seed_everything(self.config.run.seed, self.step, self.processes.rank)
        rate = learning_rate(self.step, self.config.run.steps, self.config.optimiser)
        optimiser.set_learning_rate(self._optimisers, rate)
        self._optimisers.zero_grad()
        terms, ids = dict[str, Tensor](), list[str]()
        batches_of_step = self.config.accumulation(self.processes.world)
        for turn in range(batches_of_step):
            clips = next(batches)
            ids += clips.ids
            with gradient_sync(self._student, wanted=turn == batches_of_step - 1):
                loss = self._loss(clips, self.step * batches_of_step + turn)
                (loss.total / batches_of_step).backward()
            for name, value in loss.terms.items():
                terms[name] = terms[name] + value if name in terms else value
        gradient = whole(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.clip))
        self._require_finite(terms["loss"], gradient, tuple(ids))
        self._optimisers.step()
        self.average.update(self.network)
        self.step += 1
        one = torch.ones_like(gradient)
        own = {"gradient_norm": torch.stack([gradient, one]), "learning_rate": torch.stack([rate * one, one])}
        return terms | {name: value.detach() for name, value in own.items()}

    def save(self, metrics: Mapping[str, float]) -> None:
        """A checkpoint of now."""
        progress = Progress(self.step, self.source.state_dict(), metrics)
        world_model_state.save(self._saving, self.network, self.average, self._optimisers, progress, self.processes)

    def _loss(self, clips: LatentClips, turn: int) -> Loss:
        """Of the batch that is number `turn` of this process."""
        generator = generator_of(self.config.run.seed, turn * self.processes.world + self.processes.rank, self.processes.device)
        stage, config = stage_at(self.step, self.config), world_model_at(self.step, self.config)
        frames = stage.frames[int(torch.randint(0, len(stage.frames), (), generator=generator, device=generator.device))]
        clips = clips.to(self.processes.device).cut(frames)
        latents, conditioning = normalised(clips, self.statistics, self.config.model.proprioception_dim)
        teacher = self._teacher if self.step >= config.objective.bootstrap_start else None
        with autocast(self.config.run.precision, self.processes.device):
            loss = training_loss(self._student, teacher, latents, conditioning, config, generator)
            total, terms = loss.total, {f"error/{name}": value for name, value in loss.terms.items()}
            if stage.horizon:
                reckoning = reckoning_of(self.config.model, self.statistics)
                ahead = Ahead(stage.horizon, self.config.rollout_steps or (config.objective.sampling_steps,))
                imagined = rollout_loss(self._student, self._teacher, latents, conditioning, ahead, config, generator, reckoning)
                total = total + self.config.rollout_weight * imagined
                terms["rollout_loss"] = _once(imagined)
        return Loss(total, terms | {"loss": _once(total)})

    def _require_finite(self, loss: Tensor, gradient: Tensor, ids: tuple[str, ...]) -> None:
        if not (torch.isfinite(loss[0]) and torch.isfinite(gradient)):
            raise DivergenceError(self.step, float(loss[0] / loss[1]), float(gradient), ids)

    @staticmethod
    def _found(folder: Path, resume: bool) -> checkpoint.Checkpoint | None:
        """The checkpoint to go on from. A directory with one is not trained in by accident, nor one without resumed."""
        if resume:
            return checkpoint.load(checkpoint.newest(folder))
        if found := checkpoint.written(folder):
            mend = "resume it (--resume), or choose another directory"
            raise TrainingError("there is a training in this directory", got=found[-1], mend=mend)
        return None


def _once(value: Tensor) -> Tensor:
    """A sum over one, and the count of one."""
    return torch.stack([value.detach(), torch.ones_like(value)])
