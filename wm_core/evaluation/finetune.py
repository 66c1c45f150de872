"""From a world model and new episodes to one that is better on them and has not forgotten: `wm finetune`.

Killed at any moment, the same call goes on: steps from the last checkpoint, everything after the last step anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from wm_core.data.skips import Skips
from wm_core.device import torch_device
from wm_core.evaluation import finetune_page, finetune_sets, offer
from wm_core.evaluation.evaluate import evaluated
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.finetune_config import FinetuneConfig
from wm_core.evaluation.finetune_sets import Held
from wm_core.evaluation.followed_ranges import ranges_on
from wm_core.evaluation.held_out import HeldOut, Request
from wm_core.evaluation.kept import keep
from wm_core.evaluation.offer import Offer, SetVerdicts
from wm_core.evaluation.sets import open_encoder, rate
from wm_core.training import forgetting
from wm_core.training.distributed import Processes
from wm_core.training.errors import TrainingError
from wm_core.training.forgetting import Measured, Watch
from wm_core.training.token_source import PatchEncoder, open_datasets
from wm_core.training.trainer import Trainer
from wm_core.vision.encoder import Encoder
from wm_core.world_model import byte_ranges, checkpoint
from wm_core.world_model.checkpoint import Checkpoint, Provenance
from wm_core.world_model.world_model import WorldModel, directory

Say = Callable[[str], None]
TRAINING, BEST, OFFERED, WITHHELD = "training", "best", "offered", "withheld"


def finetune(checkpoint_folder: Path, config: FinetuneConfig, beside: Path, out: Path, say: Say) -> Offer:
    """Learn from the new sets of `config`, whose relative paths begin at `beside`; everything that is made lies in `out`.

    training/ holds checkpoints and metrics; best/ the best weights so far; offered/ or withheld/ the end, with its reasons.
    """
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    tuning = opened(directory(checkpoint_folder), config, beside, out, say)
    watch = tuning.train()
    best = watch.best
    say(_text(watch))
    if best.step == 0:
        why = "it forgot too much" if watch.stopped else "none erred less on new clips"
        mend = "a lower run.learning_rate_share, a larger data.old_share, or more new episodes"
        got = f"{len(watch.measured) - 1} measured; {why}"
        raise TrainingError("no checkpoint is better than the one that was begun with", got=got, mend=mend)
    return tuning.judge(watch)


@dataclass(frozen=True)
class Tuning:
    """One fine-tuning, everything opened: `train` first, then `judge` what was best."""

    config: FinetuneConfig
    beside: Path
    out: Path
    place: Path
    start: Checkpoint
    encoder: Encoder
    evaluations: dict[str, tuple[EvaluateConfig, ...]]
    held: dict[str, tuple[Held, ...]]
    trainer: Trainer
    skips: Skips
    say: Say

    def train(self) -> Watch:
        """Until the last step, or until the monitor stops it."""
        monitor, start = self.config.monitor, self.start.hashes["ema.safetensors"]
        clips = {kind: self._clips(kind, "watched", monitor.clips, monitor.context, monitor.horizon) for kind in self.held}
        watch = forgetting.read(self.out, start, monitor.worsening)
        if not watch.measured:
            watch = self._measured(watch, 0, WorldModel(self.start), clips)
        while True:
            if self.trainer.step > watch.measured[-1].step:
                newest = checkpoint.load(checkpoint.newest(self.out / TRAINING))
                watch = self._measured(watch, self.trainer.step, WorldModel(newest), clips, newest)
            if watch.stopped or self.trainer.step >= self.config.run.steps:
                return watch
            self.trainer.run(until=self.trainer.step + monitor.every - self.trainer.step % monitor.every, progress=False)

    def judge(self, watch: Watch) -> Offer:
        """Everything that is told of the best checkpoint, in a folder that appears whole."""
        best = self.out / BEST / _name(watch.best)
        growing = self.out / ".judged.growing"
        shutil.rmtree(growing, ignore_errors=True)
        place = checkpoint.save(growing, "world_model", checkpoint.load(best))
        before, after = WorldModel(self.start), WorldModel(checkpoint.load(place))
        compared = {kind: offer.compared(before, after, self._judged(kind), self.config.error.seeds) for kind in self.held}
        verdicts = tuple(verdict for kind in self.held for verdict in self._verdicts(kind, place))
        decided = offer.rules(compared["new"].ratio, compared["old"].ratio, self.config.offer.new_at_most, self.config.offer.old_at_most)
        made = Offer(
            offered=all(rule.passed for rule in decided),
            reason=offer.reason(decided),
            before=before.hash,
            after=after.hash,
            step=watch.best.step,
            new=compared["new"],
            old=compared["old"],
            rules=decided,
            verdicts=verdicts,
        )
        self._finish(growing, place, after, made, watch)
        return made

    def _finish(self, growing: Path, place: Path, model: WorldModel, made: Offer, watch: Watch) -> None:
        """Ranges, encoder and reasons beside the weights; then the folder takes its name."""
        parts = [
            ranges_on(model, one.tokens, self._fps(model), self.config.run.seed, self.skips.add)
            for sets in self.held.values()
            for one in sets
        ]
        byte_ranges.write(place, byte_ranges.merged(parts), model.hash)
        folder = self.beside / Path(self.config.data.encoder).expanduser()
        if folder.is_dir():
            shutil.copytree(folder, growing / "encoder")
        (place / offer.FILE).write_text(json.dumps(asdict(made), indent=1), encoding="utf-8")
        for name in (OFFERED, WITHHELD):
            shutil.rmtree(self.out / name, ignore_errors=True)
        os.rename(growing, self.out / (OFFERED if made.offered else WITHHELD))
        for path in finetune_page.write(made, watch, self.out):
            self.say(f"wrote {path}")

    def _verdicts(self, kind: str, place: Path) -> list[SetVerdicts]:
        """On all held-out episodes of each set; bands and verdict of the first new one are kept, for that is where it will be used."""
        found = []
        for index, (one, held) in enumerate(zip(self.evaluations[kind], self.held[kind], strict=True)):
            results = [evaluated(one, self.beside, where, self.out, self.say, own_split=True) for where in (self.place, place)]
            found.append(SetVerdicts(kind, held.name, results[0].verdict, results[1].verdict))
            if kind == "new" and index == 0:
                keep(place, results[1])
        return found

    def _measured(self, watch: Watch, step: int, model: WorldModel, clips: dict[str, HeldOut], made: Checkpoint | None = None) -> Watch:
        """With one measurement more, after its weights are kept if they are the best."""
        seeds = self.config.monitor.seeds
        one = Measured(step, *(offer.error(model, clips[kind], seeds) for kind in ("new", "old")))
        watch = watch.and_then(one)
        self.say(f"step {step}: error on new clips {one.new:.4f}, on old ones {one.old:.4f}")
        if made is not None and watch.best == one:
            self._keep_best(one, made)
        forgetting.write(self.out, watch)
        return watch

    def _keep_best(self, one: Measured, made: Checkpoint) -> None:
        folder = self.out / BEST
        shutil.rmtree(folder / _name(one), ignore_errors=True)
        records = {**made.records, "finetuned": {"from": self.start.hashes["ema.safetensors"], "steps": one.step}}
        kept = checkpoint.save(folder, _name(one), checkpoint.served(dataclasses.replace(made, records=records)))
        for other in folder.glob("step_*"):
            if other != kept:
                shutil.rmtree(other)

    def _judged(self, kind: str) -> HeldOut:
        error = self.config.error
        return self._clips(kind, "judged", self.config.offer.clips, error.context, error.horizon)

    def _clips(self, kind: str, half: str, count: int, context: int, horizon: int) -> HeldOut:
        request = Request(count, context, horizon, self._fps(WorldModel(self.start)), self.config.run.seed)
        return finetune_sets.joined([one.clips(getattr(one, half), request, self.skips.add) for one in self.held[kind]])

    def _fps(self, model: WorldModel) -> float:
        return rate(self.evaluations["new"][0].data, model)


def opened(place: Path, config: FinetuneConfig, beside: Path, out: Path, say: Say) -> Tuning:
    """Everything is checked before the first picture is encoded."""
    start = checkpoint.load(place)
    tuned = finetune_sets.train_config(config, start)
    evaluations = finetune_sets.evaluations(config, tuned.data.preprocessing)
    judged = evaluations["new"][0]
    encoder = open_encoder(judged.data, beside, judged.torch_device())
    start.require_encoder(encoder.name, encoder.weight_hash)
    datasets = open_datasets(tuned.data, beside, PatchEncoder(encoder))
    for line in datasets.left_out():
        say(line)
    skips = Skips(say)
    datasets.fill(lambda plan: say(plan.text()) if plan.frames else None, skips.add)
    held = {kind: finetune_sets.opened(sets, beside, encoder, config.run.seed, skips.add, say) for kind, sets in evaluations.items()}
    training = out / TRAINING
    provenance = Provenance(encoder.name, encoder.weight_hash, data_hash=datasets.hash(), git_revision=start.provenance.git_revision)
    begun = bool(checkpoint.written(training))
    source, seen = datasets.source(tuned.run.batch, skips.add), datasets.trained_on()
    alone = Processes(device=torch_device(tuned.run.device, "run.device"))
    trainer = Trainer(tuned, source, start.statistics, provenance, training, alone, resume=begun, start=start, seen=seen)
    for line in trainer.notes:
        say(line)
    return Tuning(config, beside, out, place, start, encoder, evaluations, held, trainer, skips, say)


def _name(one: Measured) -> str:
    return f"step_{one.step:09d}"


def _text(watch: Watch) -> str:
    best, begin = watch.best, watch.measured[0]
    end = "stopped, for it forgets" if watch.stopped else "trained to its end"
    return f"{end}; best after {best.step} steps: error {best.new / begin.new:.2f} on new clips, {best.old / begin.old:.2f} on old ones"
