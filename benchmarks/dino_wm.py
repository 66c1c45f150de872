"""DINO-WM's way beside ours: its predictor, re-created, on the same cached tokens, with the same search, on paired goals.

    python benchmarks/dino_wm.py train OUT --data EVALUATE.yaml --train TRAIN --model DIR [--minutes 15]
    python benchmarks/dino_wm.py compare OUT --model DIR --encoder DIR [--goals 20] [--seconds 6]

DINO-WM (Zhou and others, 2024) predicts the next frame's patch tokens by one transformer over all tokens of the last three frames: a
frame sees all tokens of itself and of those before it, in every layer. A token is a latent with the frame's proprioception and an
embedding of its action beside it; the prediction at a frame is the next frame's latent and proprioception, trained on true frames by
their mean squared error. It imagines by feeding predictions back, three frames at a time, each time anew. As there: 3 frames, depth 6,
heads, learned positions, embedding of 10 numbers, GELU, no noise. Other than there: widths that give the parameters of our embedded
model, proprioception as it is, and not embedded. TRAIN is the labelled set that ours was trained on, EVALUATE.yaml names encoder and
token cache (`data`), and DIR is our checkpoint, whose statistics normalise both.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wm_core import configuration
from wm_core.data.skips import Skips
from wm_core.evaluation.control import compare, summary
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_policy import Planner
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.held_out import Request
from wm_core.evaluation.sets import open_encoder, open_set
from wm_core.planning.goal import goal_of_picture
from wm_core.planning.offline import step_of
from wm_core.planning.planner_config import PlannerConfig, search_of
from wm_core.planning.scores import Scores
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.robot_config import read_robot
from wm_core.simulation import arm as arm_model
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.training.overrides import overridden
from wm_core.vision.load import load_encoder
from wm_core.world_model.engine_config import EngineConfig
from wm_core.world_model.world_model import WorldModel

CONFIG = Path(__file__).resolve().parents[1] / "config"
HISTORY, DEPTH, HEADS, HEAD_DIM, MLP, ACTION = 3, 6, 4, 32, 704, 10
BATCH, RATE, HELD_OUT = 32, 5e-4, 64  # clips of a step, AdamW's rate as in DINO-WM, clips that are kept back


class Layer(nn.Module):
    """Attention over every token of the frames, then an MLP, both on normalised input."""

    def __init__(self, width):
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * HEADS * HEAD_DIM, bias=False)
        self.out = nn.Linear(HEADS * HEAD_DIM, width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP), nn.GELU(), nn.Linear(MLP, width))

    def forward(self, x, visible):
        query, key, value = self.project(self.before(x)).unflatten(-1, (3, HEADS, HEAD_DIM)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.mlp(self.between(x))


class FlatPredictor(nn.Module):
    """Latents (B, T, P, D), readings (B, T, Q) and the actions (B, T, A) applied after them -> the next frames' latents and readings."""

    def __init__(self, tokens, dim, readings, actions):
        super().__init__()
        self.dim, self.readings, width = dim, readings, dim + readings + ACTION
        self.action = nn.Linear(actions, ACTION)
        self.place = nn.Parameter(0.02 * torch.randn(1, HISTORY, tokens, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(DEPTH))
        self.end = nn.LayerNorm(width)
        self.head = nn.Linear(width, dim + readings)
        frame = torch.arange(HISTORY).repeat_interleave(tokens)
        self.register_buffer("visible", frame[:, None] >= frame[None, :])

    def forward(self, latents, readings, actions):
        _, frames, tokens, _ = latents.shape
        beside = torch.cat([readings, self.action(actions)], dim=-1)[:, :, None].expand(-1, -1, tokens, -1)
        x = (torch.cat([latents, beside], dim=-1) + self.place[:, :frames]).flatten(1, 2)
        visible = self.visible[: frames * tokens, : frames * tokens]
        for layer in self.layers:
            x = layer(x, visible)
        told = self.head(self.end(x)).unflatten(1, (frames, tokens))
        return told[..., : self.dim], told[..., self.dim :].mean(dim=2)

    @torch.no_grad()
    def imagine(self, latents, readings, actions, ahead):
        """From seen frames (1, T, P, D) with readings (1, T, Q) and actions (1, T - 1, A): (N, H, P, D) after actions (N, H, A)."""
        count = len(ahead)
        latents, readings, before = (part.expand(count, *part.shape[1:]) for part in (latents, readings, actions))
        told, imagined = torch.cat([before, ahead], dim=1), []
        for step in range(ahead.shape[1]):
            upto = before.shape[1] + step + 1
            own = self(latents[:, -HISTORY:], readings[:, -HISTORY:], told[:, max(0, upto - HISTORY) : upto])
            latents = torch.cat([latents, own[0][:, -1:]], dim=1)
            readings = torch.cat([readings, own[1][:, -1:]], dim=1)
            imagined.append(own[0][:, -1])
        return torch.stack(imagined, dim=1)


class FlatEvaluator:
    """Candidates judged by it, in the units and by the distance that ours are."""

    def __init__(self, network, model, goal, distance):
        self._network, self._model, self._distance = network, model, distance
        self._goal = model.normalised(goal.latents)

    def correct(self, witness):
        imagined = self._imagined(witness.way[None])[0]
        self._wrong = replace(witness, seen=self._model.normalised(witness.seen)).wrong(imagined)

    def see(self, seen):
        self._wrong = 0.0
        statistics = self._model.statistics
        self._latents = self._model.normalised(seen.latents)[None, -HISTORY:]
        self._readings = statistics["proprioception"].normalise(seen.readings)[None, -HISTORY:]
        self._actions = statistics["actions"].normalise(seen.actions)[None, len(seen.actions) - self._latents.shape[1] + 1 :]

    def evaluate(self, actions, fidelity):
        imagined = self._imagined(actions) - self._wrong
        distances = self._distance.of_plans(self._distance.of_frames(imagined, self._goal, None))
        return Scores(distances.double().numpy(), np.zeros(len(actions)))

    def distance(self):
        return float(self._distance.of_frames(self._latents[0, -1], self._goal, None))

    def _imagined(self, actions):
        ahead = self._model.statistics["actions"].normalise(torch.from_numpy(actions).float())
        return self._network.imagine(self._latents, self._readings, self._actions, ahead)


class FlatPlanner(Planner):
    """The same policy with another world model."""

    def __init__(self, network, model, encoder, search, config):
        super().__init__(model, encoder, search, config.fidelities, config.distance, HISTORY)
        self._network = network

    def begin(self, task, generator):
        super().begin(task, generator)
        goal = goal_of_picture(self._encoder, task.picture, f"task-{task.index}")
        self._evaluator = FlatEvaluator(self._network, self._model, goal, self._distance)


def predictor(model):
    """One for the encoder's own grid of our model."""
    rows, columns = model.grids[0]
    return FlatPredictor(rows * columns, model.config.model.latent_dim, model.proprioception, model.config.model.action_dim)


def clips_of(arguments, model):
    """Clips as long as the episodes of TRAIN, normalised: latents (B, T, P, D), readings (B, T, Q), actions (B, T, A)."""
    config = configuration.read(EvaluateConfig, arguments.data)
    data, beside = config.data, arguments.data.parent
    encoder = open_encoder(data, beside, torch.device("cpu"))
    model.require_encoder(encoder.name, encoder.weight_hash)
    labelled = replace(data.labelled, root=str(arguments.train.resolve()))
    tokens = open_set(data, labelled, beside, encoder, Skips(print).add, print)
    clips = tokens.clips(Request(arguments.clips, HISTORY, arguments.horizon, model.fps, 0), Skips(print).add)
    statistics, width = model.statistics, model.proprioception
    readings = statistics["proprioception"].normalise(clips.state[..., :width].float())
    return model.normalised(clips.latents), readings, statistics["actions"].normalise(clips.actions.float())


def error(network, clips):
    """Mean squared error of the next frame from true ones, over windows of HISTORY frames: a loss on latents and readings."""
    latents, readings, actions = clips
    start = int(torch.randint(0, latents.shape[1] - HISTORY, ()))
    seen = slice(start, start + HISTORY)
    ahead = slice(start + 1, start + HISTORY + 1)
    frames, states = network(latents[:, seen], readings[:, seen], actions[:, seen])
    return functional.mse_loss(frames, latents[:, ahead]), functional.mse_loss(states, readings[:, ahead])


def train(arguments):
    torch.manual_seed(0)
    model = WorldModel.open(arguments.model)
    network = predictor(model)
    clips = clips_of(arguments, model)
    count = sum(parameter.numel() for parameter in network.parameters())
    ours = sum(parameter.numel() for parameter in model.network.parameters())
    print(f"{count} parameters, ours {ours}; {len(clips[0])} clips of {clips[0].shape[1]} frames", flush=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    began, step = time.process_time(), 0
    while (spent := time.process_time() - began) < 60.0 * arguments.minutes:
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 200) * (1.0 - spent / (60.0 * arguments.minutes))
        chosen = torch.randint(HELD_OUT, len(clips[0]), (BATCH,))
        both = error(network, [part[chosen] for part in clips])
        optimiser.zero_grad()
        sum(both).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if step % 200 == 0:
            print(f"step {step}, {spent:.0f} CPU s: {both[0].item():.4f} {both[1].item():.4f}", flush=True)
        step += 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), arguments.out / "predictor.pt")
    told = {"steps": step, "cpu_seconds": spent, "parameters": count, "ours": ours}
    (arguments.out / "training.json").write_text(json.dumps(told))
    kept = [part[:HELD_OUT] for part in clips]
    ahead = network.imagine(kept[0][:, :HISTORY], kept[1][:, :HISTORY], kept[2][:, : HISTORY - 1], kept[2][:, HISTORY - 1 : -1])
    real, last = kept[0][:, HISTORY:], kept[0][:, HISTORY - 1 : HISTORY]
    ratio = (ahead - real).square().mean((0, 2, 3)) / (last - real).square().mean((0, 2, 3))
    print(f"{told}; error / copying by horizon: {[round(value, 3) for value in ratio.tolist()]}")


def side_by_side(arguments):
    model, encoder = WorldModel.open(arguments.model), load_encoder(str(arguments.encoder), torch.device("cpu"))
    fast = WorldModel.open(arguments.model, engine=EngineConfig("onnx", 0))
    network = predictor(model)
    network.load_state_dict(torch.load(arguments.out / "predictor.pt", weights_only=True))
    config = overridden(configuration.read(PlannerConfig, CONFIG / "planner.yaml"), [*arguments.planner, "search.review=0"])
    guard, robot = configuration.read(GuardConfig, CONFIG / "safety_guard.yaml"), read_robot(CONFIG / "ur5e.yaml", arm_model.urdf())
    search = search_of(config, guard, robot, step_of(model))
    ours = (config.fidelities, config.distance, config.frames)
    policies = {
        "ours, torch": Planner(model, encoder, search, *ours),
        "ours, onnxruntime": Planner(fast, encoder, search, *ours),
        "DINO-WM's predictor": FlatPlanner(network.eval(), model, encoder, search, config),
    }
    asked = configuration.read(ControlConfig, CONFIG / "control.yaml")
    judge = replace(asked.judge, seconds=arguments.seconds)
    arm = EmbeddedArm(configuration.read(SimConfig, CONFIG / "sim_arm.yaml"))
    trials = compare(policies, arm, asked.tasks.of("reach", arguments.goals), judge, step_of(model), lambda line: print(line, flush=True))
    first = None
    print("\n| predictor | within 2 cm | 95 % interval | median end, cm | plan p50, ms | ratio |\n|---|---:|---:|---:|---:|---:|")
    for name, done in trials.items():
        one = summary(name, "reach", done, step_of(model))
        first = first or one.planning
        row = f"{one.successes} of {one.trials} | {one.low:.2f} to {one.high:.2f} | {100 * one.tool_error:.1f}"
        print(f"| {name} | {row} | {1000 * one.planning:.0f} | {one.planning / first:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "compare"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--horizon", type=int, default=7)
    parser.add_argument("--goals", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--planner", nargs="*", default=[], help="settings in place of planner.yaml's, e.g. search.samples=32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (train if arguments.action == "train" else side_by_side)(arguments)


if __name__ == "__main__":
    main()
