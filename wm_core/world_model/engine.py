"""Imagining by onnxruntime: the graphs of one model, made when first asked for, and what is fed to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from wm_core.world_model.cache import RingCache
from wm_core.world_model.engine_worker import session
from wm_core.world_model.imagination_graph import ImaginationGraph, Shape
from wm_core.world_model.model_config import ModelConfig, WorldModelConfig
from wm_core.world_model.onnx_nodes import Ranges
from wm_core.world_model.rotary import time_rotation
from wm_core.world_model.transformer import Transformer

Feed = Mapping[str, NDArray[np.float32]]
"""Inputs of a graph by name; see ImaginationGraph."""
PER_SAMPLE = ("actions", "readings")


class Engine(Protocol):
    """Whoever computes graphs of a model."""

    def frames(self, shape: Shape, feed: Feed) -> NDArray[np.float32]:
        """Normalised frames (N, H, P, D)."""

    def close(self) -> None:
        """End what was started."""


class Graphs:
    """The graphs of a model as onnxruntime reads them; with `ranges` the products in their layers are computed in bytes."""

    def __init__(self, network: Transformer, config: WorldModelConfig, ranges: Ranges | None = None) -> None:
        self._network, self._config, self._ranges = network, config, ranges

    def of(self, shape: Shape) -> bytes:
        """The graph that is unrolled for this."""
        written: bytes = ImaginationGraph(self._network, self._config, shape, self._ranges).build().SerializeToString()
        return written


class OnnxEngine:
    """onnxruntime in this process."""

    def __init__(self, graphs: Graphs, threads: int = 1) -> None:
        self._graphs, self._threads = graphs, threads
        self._sessions: dict[Shape, onnxruntime.InferenceSession] = {}

    def frames(self, shape: Shape, feed: Feed) -> NDArray[np.float32]:
        """Normalised frames (N, H, P, D)."""
        if shape not in self._sessions:
            self._sessions[shape] = session(self._graphs.of(shape), self._threads)
        imagined: NDArray[np.float32] = self._sessions[shape].run(["frames"], dict(feed))[0]
        return imagined

    def close(self) -> None:
        """Nothing was started."""


def context_feed(ring: RingCache, last: Tensor, numbers: Tensor, model: ModelConfig) -> dict[str, NDArray[np.float32]]:
    """What all samples share: the ring of one stream, its last committed frame (P, D), and the numbers (H,) of the imagined ones."""
    cos, sin = time_rotation(numbers, model.dim // model.heads)
    parts = {"visible": ring.mask(numbers, model.context)[:, : ring.slots], "cos": cos, "sin": sin, "last": last}
    for layer, (keys, values) in enumerate(zip(ring.keys, ring.values, strict=True)):
        parts |= {f"keys_{layer}": keys[0, :, :, 0, : ring.slots], f"values_{layer}": values[0, :, :, 0, : ring.slots]}
    return {name: array(part) for name, part in parts.items()}


def array(part: Tensor) -> NDArray[np.float32]:
    """As a graph takes it."""
    return np.asarray(part.float().cpu().numpy(), order="C")


def measured_ranges(network: Transformer, config: WorldModelConfig, shape: Shape, feeds: list[Feed]) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of each channel that enters the products of a graph, over these feeds."""
    graph = ImaginationGraph(network, config, shape)
    graph.build()
    found = graph.nodes.observed()
    written = graph.model()
    written.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in found)
    runs = session(written.SerializeToString(), torch.get_num_threads())
    ranges: dict[str, NDArray[np.float32]] = {}
    for feed in feeds:
        for name, seen in zip(found.values(), runs.run(list(found), dict(feed)), strict=True):
            ranges[name] = np.maximum(ranges[name], seen) if name in ranges else seen
    return ranges
