"""The imagined future of N action sequences as one ONNX graph, unrolled over frames and sampling steps; onnxruntime needs no compiler.

The arithmetic is that of rollout.py, arranged for one stream: what all samples share is computed once, what depends on the actions alone
once for all frames, and a committed frame is computed as far as later frames look at it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from wm_core.errors import WorldModelError
from wm_core.world_model.block import Block
from wm_core.world_model.embedding import VectorToken, plane_features
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.onnx_nodes import Nodes, Ranges
from wm_core.world_model.rotary import plane_rotation
from wm_core.world_model.shortcut import Schedule
from wm_core.world_model.transformer import LinearHead, Transformer

Grid = tuple[int, int]

OPSET = 17


@dataclass(frozen=True)
class Shape:
    """What a graph is unrolled for: H imagined frames of K sampling steps on a grid, after at most W committed ones."""

    horizon: int
    steps: int
    grid: Grid


class ImaginationGraph:
    """Frames (N, H, P, D) from these inputs, all normalised.

    Of the context: keys_L and values_L (S, KV, W, hd) of each time layer L; last (P, D), its last committed frame; visible (H, W), 0 or
    -inf for what frame h does not look at. Of the imagined frames: cos and sin (H, hd / 2) of their numbers; start and commit (H, P, D),
    the noise. Of the samples: actions (N, H, A) and readings (N, H, Q); known (), 1 or 0, says whether the readings are.
    """

    def __init__(self, network: Transformer, config: WorldModelConfig, shape: Shape, ranges: Ranges | None = None) -> None:
        if not isinstance(network.head, LinearHead):
            raise WorldModelError("only a model with a linear head is exported", got="a wide head", mend="take the engine torch")
        self.network, self.sizes, self.shape, self.head = network, config.model, shape, network.head
        self.blocks = [block for block in network.blocks if isinstance(block, Block)]
        self.objective = config.objective.resolved()
        self.schedule = Schedule(config.model.finest_steps, self.objective.single_step == "mean")
        self.head_dim = config.model.dim // config.model.heads
        self.embedding = network.embedding
        self.tokens = self.embedding.before + shape.grid[0] * shape.grid[1] + self.embedding.after
        self.nodes = Nodes(ranges or {})
        self._owner = torch.arange(config.model.heads) // (config.model.heads // config.model.kv_heads)  # whose keys a head reads

    @torch.no_grad()
    def build(self) -> onnx.ModelProto:
        """The graph as bytes of onnxruntime."""
        self._lead()
        own: list[list[tuple[str, str]]] = [[] for _ in self.network.time_layers]
        before, frames = "last", list[str]()
        noise = self.objective.context_noise
        context_tau = self.schedule.context_signal(noise) / self.schedule.finest
        for index in range(self.shape.horizon):
            if index:
                committed = self._mixed(frames[-1], self._row("commit", index - 1), context_tau)
                self._pass(index - 1, committed, self.schedule.context_signal(noise), self.schedule.finest_step, own, commit=True)
                before = committed
            frames.append(self._sampled(index, before, context_tau, own))
        joined = [self.nodes.add("Unsqueeze", frame, self.nodes.whole(1)) for frame in frames]
        self.nodes.nodes.append(helper.make_node("Concat", joined, ["frames"], axis=1))
        return self.model()

    def _sampled(self, index: int, before: str, context_tau: float, own: list[list[tuple[str, str]]]) -> str:
        """K steps from noise; see sampler.py."""
        latent = self._row("start", index)
        steps, finest = self.shape.steps, self.schedule.finest
        for number in range(steps):
            signal = number * finest // steps
            correction = self._pass(index, latent, signal, self.schedule.step_of(steps), own, commit=False)
            predicted = self.nodes.add("Add", correction, self._guess(latent, before, signal / finest, context_tau))
            weight = 1.0 / (steps - number)
            latent = predicted if weight == 1.0 else self._mixed(predicted, latent, weight)
        return latent

    def _lead(self) -> None:
        """What actions and readings say, for all frames at once."""
        n, embedding = self.nodes, self.embedding
        parts = [self._vector("action", embedding.action, "actions")]
        self.posed = ""
        if embedding.proprioception is not None and embedding.posed is not None:
            shown = self._shown(embedding.proprioception, "readings")
            told = self._vector("proprioception", embedding.proprioception, shown)
            null = n.add(
                "Mul",
                n.constant("proprioception.null", embedding.proprioception.null),
                n.add("Sub", n.constant("one", np.float32(1)), "known"),
            )
            parts.append(n.add("Add", n.add("Mul", told, "known"), null))
            maps = torch.einsum("wpd,cp->wcd", embedding.posed.weight, plane_features(self.shape.grid)).flatten(1)
            posed = n.product("posed", n.add("Mul", shown, "known"), maps.T)
            cells = len(maps[0]) // self.sizes.dim
            self.posed = n.add("Reshape", posed, n.whole(0, 0, cells, self.sizes.dim))
        if self.sizes.merged:
            parts = [n.add("Sum", *parts)]
        single = [n.add("Unsqueeze", part, n.whole(2)) for part in parts]
        self.single = single[0] if len(single) == 1 else n.add("Concat", *single, axis=2)
        count = n.add("Slice", n.add("Shape", "actions"), n.whole(0), n.whole(1), n.whole(0))
        self.count = count
        if self.sizes.registers:
            size = n.add("Concat", count, n.whole(self.sizes.registers, self.sizes.dim), axis=0)
            self.registers = n.add("Expand", n.constant("registers", embedding.registers), size)

    def _shown(self, token: VectorToken, value: str) -> str:
        n = self.nodes
        scales = torch.exp2(torch.arange(token.octaves)).repeat(token.width // (1 + 2 * token.octaves))
        spread = torch.eye(len(scales) // token.octaves).repeat_interleave(token.octaves, dim=0).T * scales
        angle = n.add("MatMul", value, n.constant("octaves", spread))
        return n.add("Concat", value, n.add("Sin", angle), n.add("Cos", angle), axis=-1)

    def _vector(self, name: str, token: VectorToken, shown: str) -> str:
        n, (first, second) = self.nodes, (layer for layer in token.mlp if isinstance(layer, nn.Linear))
        hidden = n.add("Add", n.product(f"{name}.0", shown, first.weight), n.constant(f"{name}.0.bias", first.bias))
        hidden = n.add("QuickGelu", hidden, domain="com.microsoft", alpha=1.0)
        return n.add("Add", n.product(f"{name}.2", hidden, second.weight), n.constant(f"{name}.2.bias", second.bias))

    def _pass(self, index: int, latent: str, signal: int, step: int, own: list[list[tuple[str, str]]], commit: bool) -> str:
        """One pass over frame `index`; a committed one leaves its keys and values in `own` and ends there."""
        x = self._embedded(index, latent, signal, step)
        time = self.network.time_layers
        for layer, block in enumerate(self.blocks):
            weight = block.before_attention.weight / self.nodes.balance(f"{layer}.project")
            entering = self._norm(f"{layer}.before_attention", x, weight)
            if layer in time:
                place = time.index(layer)
                query, key, value = self._heads(layer, entering, index, commit and layer == time[-1])
                own_here = [*own[place], (key, value)][-self.sizes.context :]  # those that frame `index` looks back on
                if commit:
                    own[place].append((key, value))
                    if layer == time[-1]:
                        return ""
                attended = self.across(place, index, query, own_here)
            else:
                query, key, value = self._heads(layer, entering, None)
                attended = self.nodes.add(
                    "MultiHeadAttention", query, key, value, domain="com.microsoft", num_heads=self.sizes.heads, scale=1.0
                )
            x = self.nodes.add("Add", x, self.nodes.product(f"{layer}.out", attended, block.attention.out.weight, kept=f"{layer}.out"))
            x = self.nodes.add("Add", x, self._mlp(layer, x))
        return self._head(x)

    def _embedded(self, index: int, latent: str, signal: int, step: int) -> str:
        n, embedding, grid = self.nodes, self.embedding, self.shape.grid
        place = embedding.place(plane_features(grid)) + embedding.latents.bias
        tokens = n.add("Add", n.product("latents", latent, embedding.latents.weight), n.constant("place", place))
        if self.posed:
            tokens = n.add("Add", tokens, self._frame(self.posed, index))
        else:
            tokens = n.add("Expand", tokens, n.add("Concat", self.count, n.whole(len(place), self.sizes.dim), axis=0))
        label = torch.cat([embedding.signal.weight[signal], embedding.step.weight[step]])
        shortcut = n.constant(f"label_{signal}_{step}", label)
        lead = self._frame(self.single, index)
        if self.sizes.merged:
            single = [n.add("Add", lead, shortcut)]
        else:
            size = n.add("Concat", self.count, n.whole(1, self.sizes.dim), axis=0)
            single = [n.add("Expand", shortcut, size), lead]
        return n.add("Concat", *([self.registers] if self.sizes.registers else []), tokens, *single, axis=1)

    def _heads(self, layer: int, x: str, frame: int | None, unasked: bool = False) -> tuple[str, str, str]:
        """Query, key and value (N, S, dim), normalised, scaled and turned; the query of a frame that asks nothing is empty."""
        n, attention = self.nodes, self.blocks[layer].attention
        dim, heads = self.sizes.dim, self.sizes.heads
        weight, gains = self._projection(layer), attention.logit_scale() / self.head_dim
        rows, gain = (dim, torch.ones(heads)) if unasked else (0, torch.cat([gains, torch.ones(heads)]))
        suffix = ".key" if unasked else ""
        carried = weight[2 * dim :].T / (n.balance(f"{layer}.out") if frame is None else 1.0)  # the context's values are not divided
        value = n.product(f"{layer}.value", x, carried.T, kept=f"{layer}.project")
        both = n.product(f"{layer}.query_key{suffix}", x, weight[rows : 2 * dim], kept=f"{layer}.project")
        split = n.add("Reshape", both, n.whole(0, 0, len(gain), self.head_dim))
        normed = self._norm("heads", split, torch.ones(self.head_dim), 1.1920929e-07)
        if not unasked:
            normed = n.add("Mul", normed, n.constant(f"{layer}.gain", gain[:, None].expand(-1, self.head_dim)))
        turned = self._turned(normed, len(gain), frame)
        if unasked:
            return "", turned, value
        query, key = n.several("Split", turned, n.whole(dim, dim), outputs=2, axis=-1)
        return query, key, value

    def _projection(self, layer: int) -> Tensor:
        """Rows of query, key and value (3 dim, dim); keys and values that several heads share are there once for each of them."""
        weight, dim = self.blocks[layer].attention.project.weight, self.sizes.dim
        key, value = (part.unflatten(0, (-1, self.head_dim))[self._owner].flatten(0, 1) for part in weight[dim:].chunk(2))
        return torch.cat([weight[:dim], key, value])

    def _shared(self, name: str) -> str:
        """Keys or values of the context (S, heads, W, hd)."""
        if self.sizes.heads == self.sizes.kv_heads:
            return name
        return self.nodes.add("Gather", name, self.nodes.constant("owner", self._owner.numpy()), axis=1)

    def _turned(self, x: str, heads: int, frame: int | None) -> str:
        """Rotary positions of vectors (N, S, heads, hd): (N, S, heads * hd)."""
        n = self.nodes
        if frame is None:
            flat = n.add("Reshape", x, n.whole(0, 0, heads * self.head_dim))
            cos, sin = plane_rotation(self.shape.grid, self.embedding.before, self.embedding.after, self.head_dim)
            names = n.constant("plane_cos", cos), n.constant("plane_sin", sin)
            return n.add("RotaryEmbedding", flat, n.whole(0), *names, domain="com.microsoft")
        rows = n.add("Reshape", x, n.whole(-1, 1, heads * self.head_dim))
        turned = n.add("RotaryEmbedding", rows, n.whole(frame), "cos", "sin", domain="com.microsoft")
        return n.add("Reshape", turned, n.whole(-1, self.tokens, heads * self.head_dim))

    def across(self, place: int, index: int, query: str, own: list[tuple[str, str]]) -> str:
        """Attention (N, S, dim) to the context, which all samples share, and to the frames of each sample's own."""
        n, heads = self.nodes, self.sizes.heads
        split = n.whole(0, 0, heads, self.head_dim)
        query = n.add("Reshape", query, split)
        keys = [n.add("Reshape", key, split) for key, _ in own]
        values = [n.add("Reshape", value, split) for _, value in own]
        asked = n.add("Transpose", query, perm=[1, 2, 0, 3])
        shared = n.add("MatMul", asked, n.add("Transpose", self._shared(f"keys_{place}"), perm=[0, 1, 3, 2]))
        shared = n.add("Add", shared, self._row("visible", index))
        logits = [n.add("Transpose", shared, perm=[2, 0, 1, 3])]
        logits += [n.add("ReduceSum", n.add("Mul", query, key), n.whole(-1), keepdims=1) for key in keys]
        weights = n.add("Softmax", n.add("Concat", *logits, axis=-1), axis=-1)
        sizes = n.whole(self.sizes.context, *([1] * len(own)))
        common, *single = n.several("Split", weights, sizes, outputs=1 + len(own), axis=-1)
        seen = n.add("MatMul", n.add("Transpose", common, perm=[1, 2, 0, 3]), self._shared(f"values_{place}"))
        terms = [n.add("Transpose", seen, perm=[2, 0, 1, 3])]
        terms += [n.add("Mul", weight, value) for weight, value in zip(single, values, strict=True)]
        return n.add("Reshape", n.add("Sum", *terms), n.whole(0, 0, self.sizes.dim))

    def _mlp(self, layer: int, x: str) -> str:
        n, block, hidden = self.nodes, self.blocks[layer], self.sizes.mlp_hidden
        entering = self._norm(f"{layer}.before_mlp", x, block.before_mlp.weight / n.balance(f"{layer}.up"))
        gate = n.product(f"{layer}.gate", entering, block.mlp.up.weight[:hidden], kept=f"{layer}.up")
        carried = block.mlp.up.weight[hidden:].T / n.balance(f"{layer}.down")
        value = n.product(f"{layer}.value_up", entering, carried.T, kept=f"{layer}.up")
        open_gate = n.add("QuickGelu", gate, domain="com.microsoft", alpha=1.0)
        return n.product(f"{layer}.down", n.add("Mul", open_gate, value), block.mlp.down.weight, kept=f"{layer}.down")

    def _head(self, x: str) -> str:
        n, head, first = self.nodes, self.head, self.embedding.before
        cells = self.shape.grid[0] * self.shape.grid[1]
        latents = n.add("Slice", x, n.whole(first), n.whole(first + cells), n.whole(1))
        out = n.product("head", self._norm("head.norm", latents, head.norm.weight), head.out.weight)
        return n.add("Add", out, n.constant("head.bias", head.out.bias))

    def _guess(self, latent: str, before: str, tau: float, tau_before: float) -> str:
        """See first_guess.py; both signal levels are known here."""
        change = self.sizes.change
        if not change:
            return self.nodes.constant("nothing", np.float32(0))
        signal, noise = tau_before**2 + (1 - tau_before) ** 2, (1 - tau) ** 2
        open_variance = change + (1 - tau_before) ** 2 / signal
        total = noise + open_variance * tau**2
        expected = self._scaled(before, tau_before / signal * noise / total)
        return self.nodes.add("Add", expected, self._scaled(latent, open_variance * tau / total)) if tau else expected

    def _mixed(self, first: str, second: str, share: float) -> str:
        return self.nodes.add("Add", self._scaled(first, share), self._scaled(second, 1.0 - share))

    def _scaled(self, x: str, factor: float) -> str:
        return self.nodes.add("Mul", x, self.nodes.constant(f"factor_{factor!r}", np.float32(factor)))

    def _norm(self, name: str, x: str, weight: Tensor, epsilon: float = 1e-6) -> str:
        return self.nodes.add("SimplifiedLayerNormalization", x, self.nodes.constant(f"{name}.weight", weight), axis=-1, epsilon=epsilon)

    def _row(self, name: str, index: int) -> str:
        return self.nodes.add("Gather", name, self.nodes.constant(f"index_{index}", np.int64(index)), axis=0)

    def _frame(self, name: str, index: int) -> str:
        return self.nodes.add("Gather", name, self.nodes.constant(f"index_{index}", np.int64(index)), axis=1)

    def model(self) -> onnx.ModelProto:
        model, horizon, cells = self.sizes, self.shape.horizon, self.shape.grid[0] * self.shape.grid[1]
        held = (self.tokens, model.kv_heads, model.context, self.head_dim)
        sizes: dict[str, tuple[int | str, ...]] = {
            "visible": (horizon, model.context),
            "cos": (horizon, self.head_dim // 2),
            "sin": (horizon, self.head_dim // 2),
            "last": (cells, model.latent_dim),
            "start": (horizon, cells, model.latent_dim),
            "commit": (horizon, cells, model.latent_dim),
            "actions": ("samples", horizon, model.action_dim),
        }
        if model.proprioception_dim:
            sizes |= {"readings": ("samples", horizon, model.proprioception_dim), "known": ()}
        for place in range(len(self.network.time_layers)):
            sizes |= {f"keys_{place}": held, f"values_{place}": held}
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()]
        out = helper.make_tensor_value_info("frames", TensorProto.FLOAT, ("samples", horizon, cells, model.latent_dim))
        graph = helper.make_graph(self.nodes.nodes, "imagination", inputs, [out], list(self.nodes.constants.values()))
        domains = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=domains, ir_version=9)
