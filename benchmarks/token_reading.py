"""How well a small network reads where things are from the tokens of a frozen encoder, beside the ridge regression on the same frames.

    ./wm exec python benchmarks/token_reading.py ENCODER HELD_OUT TRAIN [TRAIN ...] [--epochs 30] [--width 512]

TRAIN and HELD_OUT are labelled sets of the embedded arm. What a straight line cannot read may still be there: this asks for what the tokens
hold, `encoders.py` for what lies open. Prints medians in cm with 90 % intervals over held-out episodes, and 90th percentiles.
"""

import argparse
import sys
import time
from pathlib import Path

import embedded_arm_frames
import numpy as np
import torch
from encoders import every, tokens
from torch import nn

from wm_core.evaluation import bootstrap
from wm_core.simulation.scene import OBJECTS
from wm_core.vision.linear_probe import fit_probe
from wm_core.vision.load import load_encoder

BATCH, RATE, DECAY, NOISE = 256, 2e-3, 0.05, 0.05  # noise: on standardised tokens, against learning frames by heart
RIDGE_FRAMES = 24_000


def read(root, encoder):
    """Tokens (N, P, D), positions (N, 3, 3) m of the tool and the objects, and episodes (N,)."""
    frames, points = embedded_arm_frames.load(root)
    seen = tokens(lambda part: encoder(part).patches, frames.reshape(-1, *frames.shape[2:]))
    return seen, torch.from_numpy(points).float().flatten(0, 1), torch.arange(len(frames)).repeat_interleave(frames.shape[1])


def network(seen, places, epochs, width):
    """A function of tokens (N, P, D) to places (N, 3, 3), trained on the absolute error."""
    torch.manual_seed(0)
    flat, wanted = seen.flatten(1), places.flatten(1)
    centre, scale, middle, spread = flat.mean(0), flat.std(0) + 1e-6, wanted.mean(0), wanted.std(0)
    layers = [nn.Linear(flat.shape[1], width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, wanted.shape[1])]
    model = nn.Sequential(*layers)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * (len(flat) // BATCH))
    for _ in range(epochs):
        for chosen in torch.randperm(len(flat)).split(BATCH)[: len(flat) // BATCH]:
            clean = (flat[chosen] - centre) / scale
            loss = (model(clean + NOISE * torch.randn_like(clean)) - (wanted[chosen] - middle) / spread).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return torch.no_grad()(lambda one: (model((one.flatten(1) - centre) / scale) * spread + middle).reshape(len(one), *places.shape[1:]))


def told(name, errors, episodes):
    """One line of medians (90 % interval over episodes; 90th percentile) of errors (N, 3) in cm."""
    for thing, values in zip(("tool", *OBJECTS), errors.T, strict=True):
        found = bootstrap.statistic(values, episodes, np.median)
        print(f"{name}, {thing}: {found.value:.2f} cm ({found.low:.2f}-{found.high:.2f}; {np.quantile(values, 0.9):.1f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("held_out", type=Path)
    parser.add_argument("train", type=Path, nargs="+")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=512)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder(chosen.encoder, torch.device("cpu"))
    tested, true, episodes = read(chosen.held_out, encoder)
    sets = [read(root, encoder) for root in chosen.train]
    seen, places = (torch.cat([one[part] for one in sets]) for part in (0, 1))
    apart = torch.cat([one[2] + 1_000_000 * number for number, one in enumerate(sets)])
    print(f"{len(seen)} frames of {len(apart.unique())} episodes; held out: {len(tested)} of {len(episodes.unique())}")
    some, where, whose = (every(one, RIDGE_FRAMES) for one in (seen, places, apart))
    ridge = fit_probe(some, where.flatten(1), whose)
    began = time.process_time()
    small = network(seen, places, chosen.epochs, chosen.width)
    seconds = time.process_time() - began
    for name, found in (("ridge", ridge(tested).reshape(true.shape)), (f"network, {seconds:.0f} s", small(tested))):
        told(name, 100.0 * (found - true).norm(dim=-1).numpy(), episodes.numpy())


if __name__ == "__main__":
    sys.exit(main())
