"""Exporters that are killed at random moments: no captured episode may be lost, none be there twice, and the dataset must load.

    python benchmarks/recorder_kills.py FOLDER [--kills 50] [--journals 60] [--seed 0]

One process imports the lerobot package and forks an exporter for each kill, so that the kills fall into its work and not into its imports.
Ends with a status other than 0 when an episode is lost or doubled.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "data"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lerobot.datasets  # noqa: F401 before any fork: ten seconds
from recordings import contract, messages, write_journal

from wm_core.data import dataset_growth, journal, metadata
from wm_core.data.export import export


def killed(dataset, generator, longest):
    """Fork an exporter and kill it at a random moment; whether it was still at work."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        export(dataset, print)
        os._exit(0)
    time.sleep(generator.uniform(0.0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--journals", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator, dataset = np.random.default_rng(arguments.seed), arguments.folder / "set"
    root, heard, agreed, names = journal.root_of(dataset), messages(1.0), contract(), []
    names += [write_journal(root, number, heard, agreed).name for number in range(arguments.journals)]
    hit, seen = 0, 0
    for _ in range(arguments.kills):
        hit += killed(dataset, generator, 1.2)
        dataset_growth.mended(dataset)
        if dataset.exists():
            there = len(metadata.load(dataset))
            if there < seen:
                sys.exit(f"{seen - there} episodes were lost")
            seen = there
    export(dataset, lambda line: None)
    kept = [said["journal"] for said in dataset_growth.labels(dataset)]
    print(
        f"{hit} of {arguments.kills} kills fell into the work; {len(kept)} of {len(names)} episodes are there, {len(set(kept))} different"
    )
    sys.exit(kept != names)


if __name__ == "__main__":
    main()
