"""From a configuration to a trained world model: `wm train`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from wm_core.data.skips import Skips
from wm_core.robot.proprioception import ACTION_NAMES
from wm_core.training import clips, dry_run, train_config, world_model_state
from wm_core.training.clips import LatentClips
from wm_core.training.distributed import Processes, joined
from wm_core.training.errors import TrainingError
from wm_core.training.token_source import Datasets, PatchEncoder, open_datasets, open_encoder
from wm_core.training.train_config import TrainConfig
from wm_core.training.trainer import Trainer
from wm_core.world_model import checkpoint
from wm_core.world_model.checkpoint import Provenance
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.reckoning import READING
from wm_core.world_model.world_model import directory

Say = Callable[[str], None]


def train(path: Path, overrides: Sequence[str], folder: Path, resume: bool, dry: bool, say: Say, start: Path | None = None) -> None:
    """Train what the YAML at `path` describes into `folder`, or with `dry` say what that would cost and write no checkpoint.

    It begins with the averaged weights of the checkpoint `start`, or the newest in it, if one is given, and keeps its statistics.
    """
    config = train_config.read(path, overrides)
    _check_widths(config)
    begun = _begun(config, start, resume)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    with joined(config.run.device) as processes:
        encoder = open_encoder(config.data, path.parent, processes.device)
        _check_encoder(config, encoder)
        if begun is not None:
            begun.require_encoder(encoder.name, encoder.hash)
        datasets = open_datasets(config.data, path.parent, encoder)
        if processes.first:
            for line in dry_run.describe(config, datasets):
                say(line)
        if dry:
            _say_cost(config, processes, folder, say)
            return
        processes.wait()  # what is to be encoded is told before any of them begins
        skips = Skips(say)
        statistics = prepare(datasets, config, processes, begun, skips, say)
        source = datasets.source(config.run.batch, skips.add, processes.rank, processes.world)
        provenance = Provenance(encoder.name, encoder.hash, data_hash=datasets.hash(), git_revision=_revision())
        trainer = Trainer(config, source, statistics, provenance, folder, processes, resume, begun, datasets.trained_on())
        for line in trainer.notes if processes.first else ():
            say(line)
        begun = None  # its weights are not needed twice
        trainer.run()


def prepare(
    datasets: Datasets, config: TrainConfig, processes: Processes, begun: checkpoint.Checkpoint | None, skips: Skips, say: Say
) -> dict[str, Statistics]:
    """Encode what is missing, shared out among the processes, and measure what clips are normalised with, unless `begun` brings that.

    All processes meet the same here, and the first one tells it; of its own clips in training each tells what was not told.
    """
    skipped = skips.add if processes.first else skips.note
    datasets.fill(lambda plan: say(plan.text()) if processes.first and plan.frames else None, skipped, processes.rank, processes.world)
    if begun is not None:
        return dict(begun.statistics)
    return clips.measure(datasets.source(config.run.batch, skipped), config.data.statistics_batches)


def _begun(config: TrainConfig, start: Path | None, resume: bool) -> checkpoint.Checkpoint | None:
    """The checkpoint to begin with, which must be of the same shape."""
    if start is None:
        return None
    if resume:
        raise TrainingError("a training that goes on does not begin with other weights", got="resume and start", allowed="one of them")
    begun = checkpoint.load(directory(start))
    world_model_state.require_shape(begun, config.model)
    return begun


def _say_cost(config: TrainConfig, processes: Processes, folder: Path, say: Say) -> None:
    """The network does the same work on noise as on latents, so nothing has to be encoded to know its cost."""
    noise = _Noise(config)
    trainer = Trainer(config, noise, clips.measure(noise, 1), Provenance("none", ""), folder / ".dry_run", processes)
    cost = dry_run.measure(trainer)
    if processes.first:
        for line in cost.lines():
            say(line)


class _Noise:
    """Clips of the shape of the configured ones that hold noise."""

    def __init__(self, config: TrainConfig) -> None:
        model, frames, batch = config.model, config.data.clip.frames, config.run.batch
        draw = torch.Generator().manual_seed(0)
        latents = torch.randn(batch, frames, model.grids[0][0] * model.grids[0][1], model.latent_dim, generator=draw)
        actions, known = torch.randn(batch, frames, model.action_dim, generator=draw), torch.ones(batch, frames, dtype=torch.bool)
        self._clips = LatentClips(latents, actions, known, known[:, 0], ("noise",) * batch)

    def __iter__(self):  # type: ignore[no-untyped-def]
        while True:
            yield self._clips

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        pass


def _check_encoder(config: TrainConfig, encoder: PatchEncoder) -> None:
    model = config.model
    if (encoder.dim, encoder.grid) != (model.latent_dim, model.grids[0]):
        raise TrainingError(
            f"the model is not made for the encoder {encoder.name}",
            got=f"latent_dim {model.latent_dim}, grid {model.grids[0]}",
            allowed=f"latent_dim {encoder.dim}, grid {encoder.grid}",
            mend="change model.latent_dim and model.grids, or data.encoder",
        )


def _check_widths(config: TrainConfig) -> None:
    """Whatever a dataset's columns are, an action and a reading of it are as wide as these."""
    model = config.model
    if model.action_dim != len(ACTION_NAMES) or model.proprioception_dim not in (0, READING):
        raise TrainingError(
            "the model is not made for the actions and readings of datasets",
            got=f"action_dim {model.action_dim}, proprioception_dim {model.proprioception_dim}",
            allowed=f"action_dim {len(ACTION_NAMES)}, proprioception_dim 0 or {READING}",
            mend="change model.action_dim and model.proprioception_dim",
        )


def _revision() -> str:
    """The git revision of this code; empty where it is installed without one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
