"""How fast futures are imagined: time attention with a shared prefix against copying it, and frames of the embedded model per second.

    python benchmarks/rollout.py [--threads 1] [--repeats 30] [--device cpu] [--no-compile] [--config config/world_model_embedded.yaml]

On a CPU times are CPU seconds of this process, so that other load on the machine enters them less. The prefix bar: at 64 samples and a
context of 64 frames, at least 5 times faster than copying, with memory that does not depend on the number of samples.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wm_core import configuration
from wm_core.world_model.cache import Memory, RingCache
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.imagination_graph import OPSET, ImaginationGraph, Shape
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.onnx_nodes import Nodes
from wm_core.world_model.rollout import Rollout
from wm_core.world_model.transformer import Transformer, parameters

EMBEDDED = Path(__file__).resolve().parents[1] / "config" / "world_model_embedded.yaml"
CONTEXT, SAMPLES, HORIZON = 64, 64, 5


def seconds(call, repeats, device):
    """Median time of one call."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    for _ in range(3):
        call()
    spent = []
    for _ in range(repeats):
        if device != "cpu":
            torch.cuda.synchronize()
        start = clock()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        spent.append(clock() - start)
    return statistics.median(spent)


def filled_ring(streams, samples, slots, model, tokens, device):
    ring = RingCache(1, (streams, tokens, model.kv_heads, samples), slots, model.dim // model.heads, torch.empty(0, device=device))
    for part in (ring.keys[0], ring.values[0]):
        part.normal_()
    return ring


def shared_attention(prefix, own, model, samples, positions, places):
    memory = Memory(own, prefix, samples, model.context + HORIZON)
    return lambda query, key, value: memory.attend(0, query, key, value, positions, places)


def copied_attention(ring, positions, places, context):
    """The same attention with a cache of its own for every sample, the prefix in each: one fused kernel over all keys."""

    def attend(query, key, value):
        ring.write(0, *(part.permute(0, 2, 3, 1, 4).unsqueeze(3) for part in (key, value)), places)
        keys, values = ring.keys[0].flatten(2, 3).flatten(0, 1), ring.values[0].flatten(2, 3).flatten(0, 1)
        group, frames = query.shape[3] // keys.shape[1], query.shape[1]
        queries = query.unflatten(3, (keys.shape[1], group)).permute(0, 2, 3, 1, 4, 5).flatten(3, 4).flatten(0, 1)
        mask = ring.mask(positions, context).repeat_interleave(group, dim=0)
        out = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)
        return out.unflatten(0, (query.shape[0], -1)).unflatten(3, (frames, group)).permute(0, 3, 1, 2, 4, 5).flatten(3, 4)

    return attend


def compare_prefix(model, tokens, frames, options):
    """Seconds of one time attention with `frames` frames in a pass: copied, shared, and making the copies."""
    device, width = options.device, model.dim // model.heads
    positions = torch.arange(CONTEXT + 2, CONTEXT + 2 + frames, device=device)
    prefix = filled_ring(1, 1, CONTEXT, model, tokens, device)
    own = filled_ring(1, SAMPLES, HORIZON, model, tokens, device)
    copied = filled_ring(SAMPLES, 1, CONTEXT + HORIZON, model, tokens, device)
    prefix.positions[:-1] = torch.arange(CONTEXT, device=device)
    stays = torch.arange(frames, device=device) < frames - 1
    for ring, seen in ((own, range(CONTEXT, CONTEXT + 2)), (copied, range(CONTEXT + 2))):
        past = torch.tensor(list(seen), device=device)
        ring.occupy(past, ring.places(past, torch.ones_like(past, dtype=torch.bool)))
        ring.occupy(positions, ring.places(positions, stays))
    for mine, prefixes in ((copied.keys[0], prefix.keys[0]), (copied.values[0], prefix.values[0])):
        mine[:, :, :, 0, :CONTEXT] = prefixes[:, :, :, 0, :CONTEXT]
        past = own.keys[0] if mine is copied.keys[0] else own.values[0]
        slots = own.places(torch.arange(CONTEXT, CONTEXT + 2, device=device), torch.ones(2, dtype=torch.bool, device=device))
        mine[:, :, :, 0, CONTEXT : CONTEXT + 2] = past[0][:, :, :, slots].permute(2, 0, 1, 3, 4)
    query = torch.randn(SAMPLES, frames, tokens, model.heads, width, device=device)
    key, value = (torch.randn(SAMPLES, frames, tokens, model.kv_heads, width, device=device) for _ in range(2))
    share = shared_attention(prefix, own, model, SAMPLES, positions, own.places(positions, stays))
    copy = copied_attention(copied, positions, copied.places(positions, stays), model.context + HORIZON)
    if not torch.allclose(share(query, key, value), copy(query, key, value), atol=1e-4):
        raise SystemExit("the two attentions disagree: nothing is timed")
    if options.compile:
        share, copy = (torch.compile(call, dynamic=False) for call in (share, copy))

    def make_copies():
        for mine, shared in ((copied.keys[0], prefix.keys[0]), (copied.values[0], prefix.values[0])):
            mine[..., :CONTEXT, :].copy_(shared[..., :CONTEXT, :].expand(SAMPLES, -1, -1, -1, -1, -1))

    time_of = partial(seconds, repeats=options.repeats, device=device)
    return time_of(lambda: copy(query, key, value)), time_of(lambda: share(query, key, value)), time_of(make_copies), copied, prefix


def prefix_report(model, options):
    tokens = model.registers + model.grids[0][0] * model.grids[0][1] + (3 if model.proprioception_dim else 2)
    single, pair = (compare_prefix(model, tokens, frames, options) for frames in (1, 2))
    for frames, (copy, share, *_) in ((1, single), (2, pair)):
        print(
            f"time attention, {frames} frame(s) a pass: copied {1e3 * copy:.2f} ms, shared {1e3 * share:.2f} ms, ratio {copy / share:.1f}"
        )
    copies, copied, prefix = single[2], single[3], single[4]
    whole = single[0] + (HORIZON - 1) * pair[0] + copies, single[1] + (HORIZON - 1) * pair[1]
    print(
        f"{HORIZON} steps at K = 1: copied {1e3 * whole[0]:.1f} ms ({1e3 * copies:.1f} of them copying), shared {1e3 * whole[1]:.1f} ms, ",
        end="",
    )
    print(f"ratio {whole[0] / whole[1]:.1f}")
    copied_size, shared_size = copied.bytes() / 2**20, prefix.bytes() / 2**20
    print(f"prefix memory of one time layer: copied {copied_size:.1f} MiB for {SAMPLES} samples, shared {shared_size:.2f} MiB for any")


def session(nodes, result, inputs, shape):
    """A graph of onnxruntime on one thread, run on random inputs: a call of no arguments that gives its output."""
    nodes.nodes.append(onnx.helper.make_node("Reshape", [result, nodes.whole(*shape)], ["attended"]))
    described = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape) for name, value in inputs.items()]
    out = onnx.helper.make_tensor_value_info("attended", onnx.TensorProto.FLOAT, shape)
    graph = onnx.helper.make_graph(nodes.nodes, "attention", described, [out], list(nodes.constants.values()))
    domains = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    written = onnx.helper.make_model(graph, opset_imports=domains, ir_version=9).SerializeToString()
    running = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    return lambda: running.run(None, inputs)[0]


def engine_prefix(config, own, draws):
    """Calls of the time attention of onnxruntime to a context of 64 frames and `own` frames of each sample: shared, and on copies.

    The shared one is that of the planner's graph. Copies lie ready in one block with the own frames: nothing is counted for making them.
    """
    graph = ImaginationGraph(Transformer(config.model), config, Shape(1, 1, config.model.grids[0]))
    heads, width, tokens = config.model.heads, config.model.dim // config.model.heads, graph.tokens
    shape = (SAMPLES, tokens, heads * width)
    query = draws.standard_normal(shape, dtype=np.float32)
    prefix = [draws.standard_normal((tokens, heads, CONTEXT, width), dtype=np.float32) for _ in range(2)]
    single = [[draws.standard_normal(shape, dtype=np.float32) for _ in range(2)] for _ in range(own)]
    names = [(f"own_key_{frame}", f"own_value_{frame}") for frame in range(own)]
    inputs = {"query": query, "keys_0": prefix[0], "values_0": prefix[1], "visible": np.zeros((1, CONTEXT), np.float32)}
    inputs |= {name: value for pair, values in zip(names, single, strict=True) for name, value in zip(pair, values, strict=True)}
    shared = session(graph.nodes, graph.across(0, 0, "query", names), inputs, shape)
    kept = [
        np.concatenate(
            [
                np.broadcast_to(prefix[part], (SAMPLES, *prefix[part].shape)),
                np.stack([values[part].reshape(SAMPLES, tokens, heads, width) for values in single], axis=3),
            ],
            axis=3,
        )
        for part in range(2)
    ]
    fused, plain = Nodes(), Nodes()
    rows = [part.transpose(0, 1, 3, 2, 4).reshape(SAMPLES * tokens, CONTEXT + own, -1).copy() for part in kept]
    asked = fused.add("Reshape", "query", fused.whole(-1, 1, heads * width))
    out = fused.add("MultiHeadAttention", asked, "keys", "values", domain="com.microsoft", num_heads=heads, scale=1.0)
    in_kernel = session(fused, out, {"query": query, "keys": rows[0], "values": rows[1]}, shape)
    asked = plain.add("Reshape", "query", plain.whole(0, 0, heads, 1, width))
    weights = plain.add("Softmax", plain.add("MatMul", asked, "keys"), axis=-1)
    out = plain.add("MatMul", weights, "values")
    products = session(plain, out, {"query": query, "keys": kept[0].swapaxes(3, 4).copy(), "values": kept[1]}, shape)
    if not all(np.allclose(shared(), copied(), atol=1e-3) for copied in (in_kernel, products)):
        raise SystemExit("the attentions of onnxruntime disagree: nothing is timed")
    return shared, in_kernel, products


def engine_report(config, options):
    """The same comparison in the engine that plans, where a frame is one pass."""
    for own in (1, HORIZON):
        calls = engine_prefix(config, own, np.random.default_rng(0))
        shared, fused, plain = (seconds(call, options.repeats, "cpu") for call in calls)
        print(
            f"time attention of onnxruntime, {own} own frame(s): copied {1e3 * fused:.2f} ms (its fused kernel), {1e3 * plain:.2f} ms "
            f"(products), shared {1e3 * shared:.2f} ms, ratios {fused / shared:.1f} and {plain / shared:.1f}"
        )


def imagining(network, config, options, compiled):
    compiler = partial(torch.compile, dynamic=False) if compiled else None
    return Rollout(network, config, dtype=torch.bfloat16 if options.bf16 else torch.float32, compiler=compiler)


def seen(rollout, config, grid, device):
    """A context of as many frames as the model looks back on."""
    frames, size = config.model.context, grid[0] * grid[1]
    past = torch.randn(1, frames, size, config.model.latent_dim, device=device)
    actions = torch.randn(1, frames, config.model.action_dim, device=device)
    return rollout.prefill(past, Conditioning(actions, torch.ones(1, frames, dtype=torch.bool, device=device)), 0, grid)


def cem_report(config, options):
    """One CEM iteration, and one stream alone: what planning and looking ahead cost."""
    network = Transformer(config.model).to(options.device)
    print(f"model of {parameters(network) / 1e6:.2f} M parameters, context {config.model.context}")
    for compiled in (False, True)[: 1 + options.compile]:
        rollout, word = imagining(network, config, options, compiled), "compiled" if compiled else "eager"
        for grid in config.model.grids:
            context = seen(rollout, config, grid, options.device)
            for samples, steps in ((SAMPLES, 1), (SAMPLES, 2), (SAMPLES, 4), (1, 1), (1, 2), (1, 4)):
                plans = torch.randn(1, samples, HORIZON, config.model.action_dim, device=options.device)
                call = partial(rollout.imagine, context, plans, steps=steps)
                spent = seconds(call, options.repeats // 5 + 1, options.device)
                print(
                    f"  {word}, grid {grid[0]} x {grid[1]}, K = {steps}, {samples} x {HORIZON} frames: {1e3 * spent:.1f} ms, "
                    f"{samples * HORIZON / spent:.0f} frames/s"
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--config", type=Path, default=EMBEDDED)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    config = configuration.read(WorldModelConfig, options.config)
    wide = dataclasses.replace(config, model=dataclasses.replace(config.model, context=CONTEXT))
    prefix_report(wide.model, options)
    engine_report(wide, options)
    cem_report(config, options)


if __name__ == "__main__":
    main()
