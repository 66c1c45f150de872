"""The stages of `wm embedded`.

OUT/config is a copy of the configuration files that ship; their relative paths (../data/...) lead into OUT/data. Whoever edits that copy
trains something else.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from wm_core import configuration
from wm_core.cli.embedded_config import EmbeddedConfig, SetSize, sorted_overrides
from wm_core.cli.embedded_shipping import ship
from wm_core.cli.shipped import config_folder
from wm_core.cli.stage_record import Stage
from wm_core.data.collect import CollectConfig, Shares, collect
from wm_core.device import torch_device
from wm_core.errors import WmError
from wm_core.evaluation.evaluate import evaluate
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.shifted import collect_shifted
from wm_core.evaluation.shown_goal import shown_goal
from wm_core.orphans import end_with_parent
from wm_core.planning.goal_request import DEFAULT
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.training import train_config
from wm_core.training.dataset_frames import FrameSource
from wm_core.training.decoder_config import DecoderTraining
from wm_core.training.encoder_config import read_training
from wm_core.training.encoder_run import run_decoder, run_encoder
from wm_core.training.overrides import overridden
from wm_core.training.train import train
from wm_core.vision.load import load_encoder
from wm_core.world_model import checkpoint

Say = Callable[[str], None]


def stages(out: Path, overrides: Sequence[str], say: Say) -> list[Stage]:
    """Everything that makes the model in `out`, each setting checked before the first stage begins."""
    _copy_config(out)
    own, changes = sorted_overrides(overrides)
    config = overridden(configuration.read(EmbeddedConfig, out / "config" / "embedded.yaml"), own)
    make = _Making(out, config, changes, say)
    return [
        Stage("collect", make.collected(), make.collect),
        Stage("encoder", make.encoder_settings(), make.encoder),
        Stage("world model", asdict(train_config.read(make.path("train_embedded"), changes["train"])), make.world_model),
        Stage("decoder", asdict(overridden(configuration.read(DecoderTraining, make.path("decoder")), changes["decoder"])), make.decoder),
        Stage("evaluation", asdict(make.evaluation()), make.evaluate),
        Stage("shipping", {}, make.ship),
    ]


@dataclass(frozen=True)
class _Making:
    """What all stages know."""

    out: Path
    config: EmbeddedConfig
    changes: dict[str, list[str]]
    say: Say

    def path(self, name: str) -> Path:
        return self.out / "config" / f"{name}.yaml"

    @property
    def data(self) -> Path:
        return self.out / "data"

    def collected(self) -> dict[str, object]:
        return {"sets": asdict(self.config.sets), "collect": asdict(self._collect_config()), "arm": asdict(self._arm())}

    def collect(self) -> None:
        """All sets, so many at once as there are threads; one that is there already was whole when it appeared."""
        for half in self.data.glob("**/.*.growing"):
            shutil.rmtree(half, ignore_errors=True)  # of a run that was killed
        sets = self.config.sets
        wanted = {
            "embedded_arm": self._sized(sets.train),
            "embedded_arm_settling": replace(self._sized(sets.settling), motion=Shares(0.0, 0.0, 0.0, settling=1.0)),
            "embedded_arm_held_out": self._sized(sets.held_out),
            "embedded_arm_unlabelled": replace(self._sized(sets.unlabelled), labelled=False),
        }
        arm, shifted = self._arm(), (self.path("evaluate"), self.changes["evaluate"], self._sized(sets.held_out))
        workers = min(self.config.threads, len(wanted) + 1)
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=end_with_parent) as pool:
            running = [
                pool.submit(_collect, config, arm, self.data / name) for name, config in wanted.items() if not (self.data / name).exists()
            ]
            if self.evaluation().data.shifted.root:
                running.append(pool.submit(_collect_shifted, *shifted, arm))
            try:
                for one in running:
                    for line in one.result():
                        self.say(line)
            except BrokenProcessPool as error:
                mend = "look at the memory that is free, then give the same command again"
                raise WmError("a process that collected was killed", got=error, mend=mend) from error

    def encoder_settings(self) -> dict[str, object]:
        return {"recipe": self.config.recipe, **asdict(overridden(read_training(self._recipe()), self.changes["encoder"]))}

    def encoder(self) -> None:
        torch.set_num_threads(self.config.threads)
        run_encoder(self._recipe(), self.changes["encoder"], self._pictures(), self.data / "encoder", torch_device(), self.say)

    def world_model(self) -> None:
        begun = bool(checkpoint.written(self.out / "model"))
        train(self.path("train_embedded"), self.changes["train"], self.out / "model", resume=begun, dry=False, say=self.say)

    def decoder(self) -> None:
        torch.set_num_threads(self.config.threads)
        encoder = str(self.data / "encoder")
        changes, out = self.changes["decoder"], self.data / "decoder"
        run_decoder(self.path("decoder"), changes, encoder, self._pictures(), out, torch_device(), self.say)

    def evaluation(self) -> EvaluateConfig:
        return overridden(configuration.read(EvaluateConfig, self.path("evaluate")), self.changes["evaluate"])

    def evaluate(self) -> None:
        evaluate(self.out / "model", self.path("evaluate"), self.changes["evaluate"], self.out / "evaluation", self.say)

    def ship(self) -> None:
        torch.set_num_threads(self.config.threads)
        parts = {"encoder": self.data / "encoder", "decoder": self.data / "decoder", "world_model": self.out / "model"}
        pose = rotation.pose(np.array(self.config.goal), DOWN)
        encoder = load_encoder(str(parts["encoder"]), torch.device("cpu"))
        goal = shown_goal(EmbeddedArm(self._arm()), encoder, pose, "front", DEFAULT)
        ship(parts, goal, self.evaluation(), self.path("evaluate").parent, self.out / "shipped", self.say)

    def _sized(self, size: SetSize) -> CollectConfig:
        return replace(self._collect_config(), episodes=size.episodes, frames=size.frames, seed=size.seed, labelled=True)

    def _collect_config(self) -> CollectConfig:
        return overridden(configuration.read(CollectConfig, self.path("collect")), self.changes["collect"])

    def _arm(self) -> SimConfig:
        return configuration.read(SimConfig, self.path("sim_arm"))

    def _recipe(self) -> Path:
        return self.path(f"encoder_{self.config.recipe}")

    def _pictures(self) -> FrameSource:
        return FrameSource(self.data / "embedded_arm", self.path("datasets/embedded_arm"))


def _copy_config(out: Path) -> None:
    """The files that ship, if they are not there yet; whole or not at all."""
    place, source = out / "config", config_folder()
    if place.exists():
        return
    growing = out / f".config.{os.getpid()}.growing"
    shutil.copytree(source, growing, ignore=shutil.ignore_patterns("dds", "__pycache__"))
    growing.rename(place)


def _collect(config: CollectConfig, arm: SimConfig, out: Path) -> list[str]:
    """In a process of its own; prints how far it is, about ten times."""
    every = -(-config.episodes // 10)

    def progress(done: int) -> None:
        if done % every == 0:
            print(f"{out.name}: {done} of {config.episodes} episodes", flush=True)

    return [collect(config, arm, out, progress).text()]


def _collect_shifted(path: Path, overrides: Sequence[str], how: CollectConfig, arm: SimConfig) -> list[str]:
    lines: list[str] = []
    collect_shifted(path, overrides, how, arm, lines.append)
    return lines
