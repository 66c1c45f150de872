"""Which engine imagines: torch itself, or onnxruntime in this process or in several."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wm_core.configuration import setting
from wm_core.errors import WorldModelError
from wm_core.world_model.engine import Engine, Graphs, OnnxEngine
from wm_core.world_model.engine_workers import SplitEngine
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.onnx_nodes import Ranges
from wm_core.world_model.transformer import Transformer


@dataclass(frozen=True)
class EngineConfig:
    """What computes the imagined frames on a CPU."""

    kind: str = setting(
        "torch; onnxruntime (onnx); onnxruntime with the layers' products in bytes (bytes); or the fastest there is (auto)",
        choices=("auto", "torch", "onnx", "bytes"),
    )
    workers: int = setting("Processes of one thread that the samples are split among; 0: this process alone", low=0, high=256)


TORCH = EngineConfig("torch", 0)


def started(
    chosen: EngineConfig, network: Transformer, config: WorldModelConfig, ranges: Ranges | None, device: torch.device
) -> Engine | None:
    """The engine, None for torch; who starts it closes it."""
    kind = chosen.kind
    if kind == "auto":
        kind = "torch" if device.type != "cpu" else "onnx" if ranges is None else "bytes"
    if kind == "torch":
        return None
    if kind == "bytes" and ranges is None:
        allowed, mend = "a checkpoint with ranges.safetensors", "take the engine onnx, or measure the ranges (wm embedded does)"
        raise WorldModelError("nobody measured how large this model's numbers become", got="no ranges", allowed=allowed, mend=mend)
    graphs = Graphs(network, config, ranges if kind == "bytes" else None)
    return SplitEngine(graphs, chosen.workers) if chosen.workers else OnnxEngine(graphs)
