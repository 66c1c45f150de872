"""How well positions can be read from the tokens of each embedded encoder, and what its training costs.

    python benchmarks/encoders.py TRAIN HELD_OUT [--recipes convolutional masked distilled] [--out FOLDER] [--steps N] [--baselines]

TRAIN and HELD_OUT are labelled sets of the embedded arm. Probes are ridge regressions on the flattened token grid, fitted to training
episodes, tested on others. For comparison stand plain pixels, the principal components of each cell, and the same networks before any
training. Trained encoders are kept in FOLDER, and one that is whole there is not trained again. Times are CPU seconds of this process,
so that other load on the machine does not enter them.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import embedded_arm_frames

from wm_core.training.embedded_encoder import train_encoder
from wm_core.training.encoder_config import RECIPES, read_training
from wm_core.vision.decoder import cut
from wm_core.vision.linear_probe import distances, fit_probe

CONFIG = Path(__file__).resolve().parents[1] / "config"
PROBE_FRAMES = 6000
TESTED_EVERY = 3  # rows: neighbouring frames are nearly the same
CELL, COMPONENTS = 24, 64


def every(array, count):
    """At most about `count` entries along the first axis, evenly picked."""
    return array[:: max(1, len(array) // count)]


def tokens(encode, frames):
    return torch.cat([encode(part) for part in torch.from_numpy(frames).permute(0, 3, 1, 2).split(256)])


def probe(encode, train, held_out):
    """Errors (N, 3) in cm on the held-out frames."""
    frames, points = train
    episodes = np.repeat(np.arange(len(frames)), frames.shape[1])
    picked = every(np.arange(len(episodes)), PROBE_FRAMES)
    flat_frames, flat_points = frames.reshape(-1, *frames.shape[2:])[picked], points.reshape(-1, 9)[picked]
    fitted = fit_probe(tokens(encode, flat_frames), torch.from_numpy(flat_points), torch.from_numpy(episodes[picked]))
    tested, wanted = held_out[0][:, ::TESTED_EVERY].reshape(-1, *frames.shape[2:]), held_out[1][:, ::TESTED_EVERY].reshape(-1, 3, 3)
    return 100.0 * distances(fitted, tokens(encode, tested), torch.from_numpy(wanted)).numpy()


def median_interval(errors, episodes, generator):
    """90 % interval of the medians over episodes drawn with replacement."""
    grouped = errors.reshape(episodes, -1, 3)
    draws = [np.median(grouped[generator.integers(episodes, size=episodes)].reshape(-1, 3), axis=0) for _ in range(200)]
    return np.quantile(draws, [0.05, 0.95], axis=0)


def row(name, grid, seconds, errors, episodes):
    low, high = median_interval(errors, episodes, np.random.default_rng(0))
    median, tail = np.median(errors, axis=0), np.quantile(errors, 0.9, axis=0)
    cells = [f"{median[i]:.2f} ({low[i]:.2f}-{high[i]:.2f}; {tail[i]:.1f})" for i in range(3)]
    print(f"| {name} | {grid} | {seconds:.0f} | {' | '.join(cells)} |", flush=True)


def baselines(frames):
    """Encoders that nothing is trained for, from frames (E, T, S, S, 3)."""
    return {"pixels averaged 6x6": pooled_pixels, f"principal components of {CELL}x{CELL}": principal_components(frames)}


def principal_components(frames):
    """The encoder that projects each cell onto its first principal components."""
    cells = cut(torch.from_numpy(every(frames.reshape(-1, *frames.shape[2:]), 600)).permute(0, 3, 1, 2).float(), CELL)
    mean = cells.mean(dim=0)
    flat = (cells - mean).flatten(0, 1)
    basis = torch.linalg.eigh(flat.T @ flat).eigenvectors[:, -COMPONENTS:]
    return lambda part: (cut(part.float(), CELL) - mean) @ basis


def pooled_pixels(part):
    return torch.nn.functional.avg_pool2d(part.float(), 6).flatten(2).transpose(1, 2)


def trained(recipe, steps, frames, out):
    """The recipe's encoder and the CPU seconds of its training."""
    config = read_training(CONFIG / f"encoder_{recipe}.yaml")
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    start = time.process_time()

    def report(step, loss):
        if step % 200 == 0:
            print(json.dumps({"recipe": recipe, "step": step, "loss": loss, "cpu_s": time.process_time() - start}), file=sys.stderr)

    encoder = train_encoder(config, frames, torch.device("cpu"), out / recipe if out else None, report)
    return encoder, time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--recipes", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--baselines", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, held_out = embedded_arm_frames.load(arguments.train), embedded_arm_frames.load(arguments.held_out)
    episodes = len(held_out[0])
    print(f"{len(train[0])} training episodes, {episodes} held out; cm, median (90 % interval over episodes; 90th percentile)\n")
    print("| encoder | tokens x channels | training, CPU s | tool | cube | cylinder |\n|---|---|---|---|---|---|")
    if arguments.baselines:
        for name, encode in baselines(train[0]).items():
            errors = probe(encode, train, held_out)
            row(name, "x".join(map(str, encode(torch.zeros(1, 3, *train[0].shape[2:4])).shape[1:])), 0, errors, episodes)
    for recipe in arguments.recipes:
        for name, steps in [(f"{recipe}, untrained", 1)] * arguments.baselines + [(recipe, arguments.steps)]:
            encoder, seconds = trained(recipe, steps, train[0], arguments.out if name == recipe else None)
            errors = probe(lambda part, encoder=encoder: encoder(part).patches, train, held_out)
            row(name, f"{encoder.grid[0] * encoder.grid[1]}x{encoder.dim}", seconds, errors, episodes)


if __name__ == "__main__":
    main()
