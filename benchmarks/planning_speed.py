"""How fast one CEM iteration and a whole plan are on this CPU, by what computes the imagined frames.

    ./wm exec python benchmarks/planning_speed.py [--model models/embedded/world_model] [--engines eager,onnx,bytes,bytes_2] [--rounds 10]

An iteration is 64 candidates of 5 frames at K = 1; a plan is a context of 5 frames and an action under way (with one candidate, so that
it is made), and 4 iterations. A reviewed plan is these, a second context, and 6 elites imagined again at K = 4 with 2 seeds.
Times are medians over rounds that go through all engines in turn, so that what else the machine does meets all of them alike.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.scores import Fidelity
from wm_core.world_model.cache import Memory, RingCache
from wm_core.world_model.conditioning import Incoming
from wm_core.world_model.engine_config import EngineConfig
from wm_core.world_model.rollout import Rollout
from wm_core.world_model.transformer import Transformer
from wm_core.world_model.world_model import WorldModel

SAMPLES, HORIZON, ITERATIONS, ELITES, FRAMES, COMMITTED = 64, 5, 4, 6, 5, 1
ENGINES = ("eager", "eager_bf16", "compile", "compile_bf16", "aot", "onnx", "bytes", "onnx_2", "bytes_2")


def opened(folder: Path, engine: str) -> WorldModel:
    """The model with this engine; a number after the bar is that of processes."""
    kind, _, rest = engine.partition("_")
    if kind in ("onnx", "bytes"):
        return WorldModel.open(folder, engine=EngineConfig(kind, int(rest or 0)))
    model = WorldModel.open(folder, dtype=torch.bfloat16 if rest == "bf16" else torch.float32)
    compilers: dict[str, Callable[..., Any]] = {"compile": partial(torch.compile, dynamic=False), "aot": AheadOfTime}
    if kind in compilers:
        own = model._rollout
        model._rollout = Rollout(model.network, model.config, own.dtype, compilers[kind], own._reckoning)
    return model


class Tensors(nn.Module):
    """A pass of the transformer over a cache whose parts are given one by one."""

    def __init__(self, network: Transformer, samples: int, context: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.samples, self.context, self.grid = network, samples, context, grid

    def forward(self, noised: Tensor, signal: Tensor, step: Tensor, lead: list[Tensor], places: list[Tensor], own: list[Tensor],
                shared: list[Tensor], before: list[Tensor]) -> Tensor:  # fmt: skip
        memory = Memory(_ring(own), _ring(shared), self.samples, self.context)
        return self.network.advance(noised, signal, step, Incoming(*lead), places[0], places[1], memory, self.grid, *before)


class AheadOfTime:
    """`advance` compiled by AOTInductor for all the sizes that it is called with."""

    def __init__(self, advance: Any) -> None:
        self._network, self._made = advance.__self__, dict[str, Any]()

    def __call__(self, noised: Tensor, signal: Tensor, step: Tensor, incoming: Incoming, positions: Tensor, places: Tensor, memory: Memory,
                 grid: tuple[int, int], before: Tensor, signal_before: Tensor) -> Tensor:  # fmt: skip
        if memory.shared is None:
            return self._network.advance(noised, signal, step, incoming, positions, places, memory, grid, before, signal_before)
        lead = [incoming.action, incoming.known, incoming.first, incoming.proprioception, incoming.proprioception_known]
        given = (noised, signal, step, lead, [positions, places], _parts(memory.own), _parts(memory.shared), [before, signal_before])
        shapes = str((memory.samples, memory.context, grid, [part.shape for part in torch.utils._pytree.tree_leaves(given)]))
        if shapes not in self._made:
            module = Tensors(self._network, memory.samples, memory.context, grid)
            path = torch._inductor.aoti_compile_and_package(torch.export.export(module, given, strict=False))
            self._made[shapes] = torch._inductor.aoti_load_package(path)
        return self._made[shapes](*given)


def _parts(ring: RingCache) -> list[Tensor]:
    return [*ring.keys, *ring.values, ring.positions]


def _ring(parts: list[Tensor]) -> RingCache:
    ring = object.__new__(RingCache)
    layers = len(parts) // 2
    ring.keys, ring.values, ring.positions, ring.slots = parts[:layers], parts[layers:-1], parts[-1], parts[0].shape[4] - 1
    return ring


def seen(model: WorldModel) -> Seen:
    """Frames as an encoder might give them, the tool above the table."""
    torch.manual_seed(0)
    rows, columns = model.grids[0]
    shape = (rows * columns, model.config.model.latent_dim)
    latents = model.statistics["latents"].denormalise(0.9 * torch.randn(1, *shape) + 0.2 * torch.randn(FRAMES, *shape))
    readings = torch.tensor([[0.45, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0]]).repeat(FRAMES, 1)
    known = torch.ones(FRAMES - 1, dtype=torch.bool)
    return Seen(latents, 0.02 * torch.randn(FRAMES - 1, 7), known, 0.02 * torch.randn(COMMITTED, 7), readings)


def evaluator_of(model: WorldModel, before: Seen) -> ModelEvaluator:
    own = model.provenance
    goal = Goal("goal", before.latents[0], model.grids[0], own.encoder, own.encoder_hash, np.zeros((1, 1, 3), dtype=np.uint8))
    return ModelEvaluator(model, goal, GoalDistance(0.5), {"search": Fidelity(0, 1, 1), "review": Fidelity(0, 4, 2)})


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU milliseconds of this process alone."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def processes_cpu(model: WorldModel) -> float:
    """CPU milliseconds that the engine's own processes have used so far."""
    total = 0.0
    for process in getattr(model.engine, "processes", {}).values():
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * 10.0
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/embedded/world_model"))
    parser.add_argument("--engines", default="eager,onnx,bytes,onnx_2,bytes_2", help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--rounds", type=int, default=10)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    names = chosen.engines.split(",")
    actions = 0.02 * np.random.default_rng(0).standard_normal((SAMPLES, HORIZON, 7))
    stages: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in names}
    bench, ready, exact = {}, {}, None
    for name in names:
        began = time.perf_counter()
        model = opened(chosen.model, name)
        before = seen(model)
        evaluator = evaluator_of(model, before)
        evaluator.see(before)
        evaluator.evaluate(actions[:ELITES], "review")
        ready[name] = time.perf_counter() - began
        scores = evaluator.evaluate(actions, "search").goal
        exact = scores if exact is None else exact
        bench[name] = (model, evaluator, before)
        print(
            f"{name}: ready in {ready[name]:.1f} s; scores correlate {np.corrcoef(exact, scores)[0, 1]:.5f} with those of {names[0]}",
            flush=True,
        )
    children = {name: processes_cpu(bench[name][0]) for name in names}
    for _ in range(chosen.rounds):
        for name, (_, evaluator, before) in bench.items():
            evaluator.see(before)
            took = stages[name]
            took.setdefault("context", []).append(timed(lambda e=evaluator: e.evaluate(actions[:1], "search")))
            for _ in range(ITERATIONS):
                took.setdefault("iteration", []).append(timed(lambda e=evaluator: e.evaluate(actions, "search")))
            took.setdefault("second context", []).append(timed(lambda e=evaluator: e.evaluate(actions[:1], "review")))
            took.setdefault("review", []).append(timed(lambda e=evaluator: e.evaluate(actions[:ELITES], "review")))
    report(stages, bench, children, chosen.rounds)


def report(stages: dict[str, dict[str, list[tuple[float, float]]]], bench: dict[str, Any], children: dict[str, float], rounds: int) -> None:
    """Medians in ms of wall, fastest in brackets, the ratio to the first engine, and CPU per plan with the engine's processes."""
    first = None
    print("| engine | context | iteration | second context | review | plan | to the first | reviewed plan | CPU per reviewed plan |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, parts in stages.items():
        wall = {
            stage: (float(np.median(times)), float(np.min(times))) for stage, times in ((s, [w for w, _ in t]) for s, t in parts.items())
        }
        plan = wall["context"][0] + ITERATIONS * wall["iteration"][0]
        reviewed = plan + wall["second context"][0] + wall["review"][0]
        first = first or plan
        cpu = sum(c for times in parts.values() for _, c in times) / rounds + (processes_cpu(bench[name][0]) - children[name]) / rounds
        columns = " | ".join(f"{middle:.1f} ({least:.1f})" for middle, least in wall.values())
        print(f"| {name} | {columns} | {plan:.0f} | {first / plan:.2f} | {reviewed:.0f} | {cpu:.0f} |")
        bench[name][0].close()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
