"""An ONNX graph that grows node by node, and matrix products of it in bytes where the range of what enters them is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

LARGEST = 127  # of a signed byte; activations are unsigned bytes around 128

Ranges = Mapping[str, NDArray[np.float32]]
"""By the name of an input, the largest magnitude of each of its channels (C,)."""


@dataclass
class Nodes:
    """Every node has one output unless it is asked for several; products whose input has a range are computed in bytes.

    A channel of large range would leave few steps to the others of its input, hence `balance`.
    """

    ranges: Ranges = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _entering: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    _balances: dict[str, Tensor] = field(default_factory=dict)
    _bytes: dict[str, str] = field(default_factory=dict)

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The name of what the node gives."""
        return self.several(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def several(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """The names of all that the node gives."""
        names = [f"{op}_{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names

    def constant(self, name: str, value: Tensor | NDArray[np.generic] | np.generic) -> str:
        """A constant is written once, whoever asks for its name."""
        if name not in self.constants:
            array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
            self.constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def whole(self, *numbers: int) -> str:
        """A vector of integers: a shape, axes, sizes."""
        return self.constant(f"whole_{'_'.join(map(str, numbers))}", np.array(numbers, dtype=np.int64))

    def balance(self, kept: str) -> Tensor | float:
        """What whoever makes the input `kept` divides its channels by (C,), so that all have one range; its products make up for it."""
        if kept in self.ranges and kept not in self._balances:
            ranges = torch.from_numpy(self.ranges[kept])
            self._balances[kept] = (ranges / ranges.max()).clamp_min(1e-3).sqrt()
        return self._balances.get(kept, 1.0)

    def product(self, name: str, x: str, weight: Tensor, kept: str = "") -> str:
        """X (..., in) times weight (out, in); with a range of `kept`, the name of x among the ranges, in bytes."""
        if kept:
            self._entering.setdefault(kept, []).append((x, weight.shape[1]))
        if kept not in self.ranges:
            return self.add("MatMul", x, self.constant(name, weight.T))
        balance = self._balances.get(kept, torch.ones(weight.shape[1]))
        scale = self.constant(f"{kept}.scale", np.float32((torch.from_numpy(self.ranges[kept]) / balance).max() / LARGEST))
        middle = self.constant("middle", np.uint8(128))
        if x not in self._bytes:
            self._bytes[x] = self.add("QuantizeLinear", x, scale, middle)
        weight = weight * balance
        rows = weight.abs().amax(1).clamp_min(1e-12) / LARGEST
        whole = self.constant(f"{name}.bytes", (weight / rows[:, None]).round().to(torch.int8).T)
        scales = self.constant(f"{name}.scales", rows)
        return self.add("MatMulIntegerToFloat", self._bytes[x], whole, scale, scales, middle, domain="com.microsoft")

    def observed(self) -> dict[str, str]:
        """Nodes for the largest magnitude of each channel (C,) of every input that may have a range: their outputs, with its name."""
        found = {}
        for kept, inputs in self._entering.items():
            for x, width in dict.fromkeys(inputs):
                rows = self.add("Reshape", self.add("Abs", x), self.whole(-1, width))
                found[self.add("ReduceMax", rows, axes=[0], keepdims=0)] = kept
        return found
