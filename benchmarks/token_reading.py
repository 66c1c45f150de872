"""How well a small network reads where things are from the tokens of a frozen encoder, beside the ridge regression on the same frames.

    ./wm exec python benchmarks/token_reading.py ENCODER HELD_OUT TRAIN [TRAIN ...] [--epochs 30] [--width 512]

TRAIN and HELD_OUT are labelled sets of the embedded arm. What a straight line cannot read may still be there: this asks for what the tokens
hold, `encoders.py` for what lies open. Prints medians in cm with 90 % intervals over held-out episodes, and 90th percentiles.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wm_core import configuration
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_core.evaluation.true_states import states_of
from wm_core.vision.linear_probe import fit_probe
from wm_core.vision.load import load_encoder

DESCRIPTION = Path(__file__).resolve().parents[1] / "config" / "datasets" / "embedded_arm.yaml"
BATCH, RATE, DECAY, NOISE = 256, 2e-3, 0.05, 0.05  # noise: on standardised tokens, against learning frames by heart
RIDGE_FRAMES = 24_000


def read(root, encoder):
    """Tokens (N, P, D), positions (N, things, 3) m, episodes (N,), and the names of the things."""
    reader = DatasetReader(root, configuration.read(DatasetConfig, DESCRIPTION))
    truth = states_of(reader)
    tokens, places, episodes = [], [], []
    for episode in reader.episodes.tolist():
        rows = np.arange(reader.metadata.length[episode])
        tokens.append(encoder(torch.from_numpy(reader.frames(episode, rows, "front"))).patches)
        places.append(torch.from_numpy(truth.at(episode, rows)[..., :3]).float())
        episodes.append(torch.full((len(rows),), episode))
    return torch.cat(tokens), torch.cat(places), torch.cat(episodes), truth.names


def network(tokens, places, epochs, width):
    """A function of tokens (N, P, D) to places (N, things, 3), trained on the absolute error."""
    torch.manual_seed(0)
    flat, wanted = tokens.flatten(1), places.flatten(1)
    centre, scale, middle, spread = flat.mean(0), flat.std(0) + 1e-6, wanted.mean(0), wanted.std(0)
    layers = [nn.Linear(flat.shape[1], width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, wanted.shape[1])]
    model = nn.Sequential(*layers)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * (len(flat) // BATCH))
    for _ in range(epochs):
        for chosen in torch.randperm(len(flat)).split(BATCH)[: len(flat) // BATCH]:
            seen = (flat[chosen] - centre) / scale
            loss = (model(seen + NOISE * torch.randn_like(seen)) - (wanted[chosen] - middle) / spread).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return torch.no_grad()(lambda one: (model((one.flatten(1) - centre) / scale) * spread + middle).reshape(len(one), *places.shape[1:]))


def told(name, errors, episodes, names):
    """One line of medians (90 % interval over episodes; 90th percentile) of errors (N, things) in cm."""
    by_episode = [np.flatnonzero(episodes == episode) for episode in np.unique(episodes)]
    generator = np.random.default_rng(0)
    draws = [np.concatenate([by_episode[i] for i in generator.integers(len(by_episode), size=len(by_episode))]) for _ in range(200)]
    for thing, values in zip(names, errors.T, strict=True):
        low, high = np.quantile([np.median(values[draw]) for draw in draws], [0.05, 0.95])
        print(f"{name}, {thing}: {np.median(values):.2f} cm ({low:.2f}-{high:.2f}; {np.quantile(values, 0.9):.1f})", flush=True)


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
    tested, true, episodes, names = read(chosen.held_out, encoder)
    sets = [read(root, encoder) for root in chosen.train]
    tokens, places = (torch.cat([one[part] for one in sets]) for part in (0, 1))
    apart = torch.cat([one[2] + 1_000_000 * number for number, one in enumerate(sets)])
    print(f"{len(tokens)} frames of {len(apart.unique())} episodes; held out: {len(tested)} of {len(episodes.unique())}")
    every = max(1, len(tokens) // RIDGE_FRAMES)
    ridge = fit_probe(tokens[::every], places[::every].flatten(1), apart[::every])
    began = time.process_time()
    small = network(tokens, places, chosen.epochs, chosen.width)
    seconds = time.process_time() - began
    for name, found in (("ridge", ridge(tested).reshape(true.shape)), (f"network, {seconds:.0f} s", small(tested))):
        told(name, 100.0 * (found - true).norm(dim=-1).numpy(), episodes.numpy(), names)


if __name__ == "__main__":
    sys.exit(main())
