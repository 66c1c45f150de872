"""A loaded checkpoint that imagines: raw latents and actions outside, normalised ones inside."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from wm_core.errors import CheckpointError
from wm_core.vision.tokens import pool
from wm_core.world_model import byte_ranges, calibration, checkpoint
from wm_core.world_model.calibration import Calibration
from wm_core.world_model.checkpoint import MANIFEST, Checkpoint, Weights
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.engine import Engine, measured_ranges
from wm_core.world_model.engine_config import TORCH, EngineConfig, started
from wm_core.world_model.imagination_graph import Shape
from wm_core.world_model.onnx_nodes import Ranges
from wm_core.world_model.reckoning import reckoning_of
from wm_core.world_model.rollout import Context, Rollout

Grid = tuple[int, int]


class WorldModel:
    """Latents as the encoder gives them, actions in m, rad and opening; one call at a time."""

    def __init__(
        self,
        loaded: Checkpoint,
        weights: Weights = "ema",
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        bands: Calibration | None = None,
        engine: EngineConfig = TORCH,
        ranges: Ranges | None = None,
    ) -> None:
        """`bands` are the calibration of these weights, None where there is none. `fps`: rate of the frames it knows, None: not told.

        `engine` imagines; another one than torch needs the CPU and, for bytes, the `ranges` of these weights.
        """
        self.config, self.provenance, self.statistics = loaded.config, loaded.provenance, loaded.statistics
        self.hash, self.calibration = loaded.hashes.get(f"{weights}.safetensors", ""), bands
        self.fps = _trained_rate(loaded)
        self.device = device or torch.device("cpu")
        self.network = loaded.network(weights).requires_grad_(False).to(self.device)
        reckoning = reckoning_of(loaded.config.model, loaded.statistics)
        self.engine: Engine | None = started(engine, self.network, loaded.config, ranges, self.device)
        self._rollout = Rollout(self.network, loaded.config, dtype, reckoning=reckoning, engine=self.engine)
        self._require_encoder = loaded.require_encoder

    @staticmethod
    def open(
        folder: Path,
        device: torch.device | None = None,
        weights: Weights = "ema",
        dtype: torch.dtype = torch.float32,
        engine: EngineConfig = TORCH,
    ) -> WorldModel:
        """The checkpoint in `folder`, or the newest of those that lie in it, with its calibration."""
        place = directory(folder)
        loaded = checkpoint.load(place)
        own = loaded.hashes[f"{weights}.safetensors"]
        return WorldModel(loaded, weights, device, dtype, calibration.read(place, own), engine, byte_ranges.read(place, own))

    def close(self) -> None:
        """End the processes of the engine, where it has any."""
        if self.engine is not None:
            self.engine.close()

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The encoder's own token grid first, then the pooled ones that the model imagines on too."""
        return self.config.model.grids

    @property
    def proprioception(self) -> int:
        """How many numbers of proprioception a frame may bring with it; 0: none are read."""
        return self.config.model.proprioception_dim

    def require_encoder(self, name: str, weight_hash: str) -> None:
        """Refuse an encoder other than the one whose latents the model knows."""
        self._require_encoder(name, weight_hash)

    def pooled(self, latents: Tensor, grid: Grid) -> Tensor:
        """Tokens (..., P, D) of the encoder's grid averaged onto another one of the model's: (..., P', D)."""
        return pool(latents, self.grids[0], grid)

    def normalised(self, latents: Tensor) -> Tensor:
        """Raw latents (..., D) with zero mean and unit deviation per channel: what distances are measured in."""
        return self.statistics["latents"].normalise(latents)

    def context(self, latents: Tensor, conditioning: Conditioning, seed: int = 0, grid: Grid | None = None) -> Context:
        """Commit the seen frames (G, T, P', D), raw on `grid` (default: the encoder's own), with raw actions and proprioception."""
        inside = self.normalised(latents.to(self.device))
        return self._rollout.prefill(inside, conditioning.to(self.device).normalised(self.statistics, self.proprioception), seed, grid)

    def extend(
        self, context: Context, latents: Tensor, action: Tensor, known: Tensor, seed: int = 0, reading: Tensor | None = None
    ) -> None:
        """Commit one more seen frame (G, P', D) with the action (G, A) that led into it and whether that is known (G,).

        `reading` (G, Q) is the frame's own proprioception; None: not known.
        """
        inside = self.normalised(latents.to(self.device))
        own = None if reading is None else self._readings(reading)
        self._rollout.extend(context, inside, self._actions(action), known.to(self.device), seed, own)

    def commit(self, context: Context, actions: Tensor, seed: int = 0, steps: int | None = None) -> None:
        """Go on to where actions (G, C, A) that are under way will have led: what is imagined of them counts as seen from there on."""
        self._rollout.commit(context, self._actions(actions), seed, steps)

    def imagine(
        self, context: Context, actions: Tensor, seeds: tuple[int, ...] = (0,), steps: int | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Raw latents (seeds, G, N, H, P', D) that the actions (G, N, H, A) lead into; actions[:, :, 0] comes after the last seen frame.

        `steps` is K (default: the configuration's); `known` (G, N, H) bool says which actions are (default: all).
        """
        told = None if known is None else known.to(self.device)
        imagined = self._rollout.imagine(context, self._actions(actions), seeds, steps, told)
        return self.statistics["latents"].denormalise(imagined)

    def measured_ranges(self, contexts: list[Context], actions: list[Tensor], steps: int) -> Ranges:
        """How large the numbers in the layers become while actions (N, H, A) are followed from contexts of one stream on one grid."""
        shape = Shape(actions[0].shape[1], self.config.objective.steps_for(steps), contexts[0].grid)
        told = zip(contexts, actions, strict=True)
        feeds = [feed for context, chosen in told for feed in self._rollout.feeds(context, self._actions(chosen).float(), (0,))]
        return measured_ranges(self.network, self.config, shape, feeds)

    def _actions(self, actions: Tensor) -> Tensor:
        return self.statistics["actions"].normalise(actions.to(self.device))

    def _readings(self, readings: Tensor) -> Tensor:
        return self.statistics["proprioception"].normalise(readings.to(self.device))


def _trained_rate(loaded: Checkpoint) -> float | None:
    """Frames per second of the clips of training (Hz), as the training's own record tells; None for weights that no training wrote."""
    record = loaded.records.get("train_config")
    try:
        return None if record is None else float(record["data"]["clip"]["fps"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError("the record of the training tells no rate of frames", got=repr(error), mend="train again") from error


def directory(folder: Path) -> Path:
    """The checkpoint's own directory: `folder` itself, or the newest of those that lie in it."""
    return folder if (folder / MANIFEST).is_file() else checkpoint.newest(folder)
