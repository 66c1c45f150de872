"""`wm dataset from-bag | to-bag | export | merge | delete | label`: episodes into datasets, out of them, and among them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.recording_contract import add_contract, contract_of

WORDS = {
    "task": "what was done, in words",
    "success": "whether it was done",
    "robot": "which robot did it",
    "workspace": "where it was done",
}


def add(actions: Any) -> None:
    """The arguments of all."""
    bag = actions.add_parser("from-bag", help="add what bags hold to a dataset, an episode each")
    bag.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="a rosbag2 directory (MCAP or SQLite), or an .mcap file")
    bag.add_argument("--out", type=Path, required=True, help="directory of the dataset; it grows if it is there")
    add_contract(bag)
    bag.add_argument("--task", help="what is being done, in words (default: the contract's)")
    bag.add_argument("--success", choices=("unknown", "failure", "succeeded"), default="unknown")
    bag.set_defaults(run=run_from_bag)
    back = actions.add_parser("to-bag", help="write an episode of a recorded dataset as an MCAP bag")
    back.add_argument("episode", metavar="DATASET#INDEX", help="directory of the dataset and number of the episode")
    back.add_argument("out", type=Path, help="the .mcap file; it must not exist yet")
    add_contract(back)
    back.set_defaults(run=run_to_bag)
    out = actions.add_parser("export", help="export what the recorder captured and has not exported yet; it does so by itself")
    out.add_argument("dataset", type=Path, help="directory of the dataset")
    out.add_argument("--linger", type=float, default=0.0, help="seconds to wait for more (default: 0)")
    out.add_argument("--again", action="store_true", help="also what could not be exported before")
    out.set_defaults(run=run_export)
    whole = actions.add_parser("merge", help="several datasets as one; videos are not encoded again")
    whole.add_argument("datasets", type=Path, nargs="+", metavar="DATASET")
    whole.add_argument("--out", type=Path, required=True, help="directory of the new dataset")
    whole.set_defaults(run=run_merge)
    less = actions.add_parser("delete", help="a dataset without some of its episodes; the original stays")
    less.add_argument("dataset", type=Path)
    less.add_argument("episodes", type=int, nargs="+", metavar="INDEX")
    less.add_argument("--out", type=Path, required=True, help="directory of the new dataset")
    less.set_defaults(run=run_delete)
    said = actions.add_parser("label", help="say what an episode was: task, success, robot, workspace")
    said.add_argument("dataset", type=Path, help="directory of the dataset")
    said.add_argument("episode", type=int, metavar="INDEX", help="number of the episode")
    for word, text in WORDS.items():
        said.add_argument(f"--{word}", choices=("unknown", "failure", "succeeded") if word == "success" else None, help=text)
    said.set_defaults(run=run_label)


def run_from_bag(chosen: argparse.Namespace) -> int:
    """Each bag is an episode, or an error and no change to the dataset."""
    from wm_core.data.bag import Bag
    from wm_core.data.export import from_bag
    from wm_core.data.journal import Labels

    for bag in chosen.bags:
        contract = contract_of(chosen, Bag(bag))
        config = contract.config
        labels = Labels(chosen.task or config.task, chosen.success, config.robot, config.workspace)
        from_bag(bag, contract, labels, chosen.out, print)
    return 0


def run_to_bag(chosen: argparse.Namespace) -> int:
    """What each stream said, at most once per row."""
    from wm_core.data.to_bag import to_bag
    from wm_core.errors import WmError

    folder, mark, number = chosen.episode.rpartition("#")
    if not mark or not number.isdigit():
        raise WmError("this names no episode", got=chosen.episode, allowed="DATASET#INDEX, such as data/mine#0")
    print(f"{to_bag(Path(folder), int(number), contract_of(chosen), chosen.out)} messages in {chosen.out}")
    return 0


def run_export(chosen: argparse.Namespace) -> int:
    """The recorder starts this by itself."""
    from wm_core.data.export import export, try_again

    if chosen.again:
        try_again(chosen.dataset)
    print(f"{export(chosen.dataset, _say, chosen.linger)} episodes were exported")
    return 0


def run_merge(chosen: argparse.Namespace) -> int:
    """The parts stay as they are."""
    from wm_core.data.dataset_edit import merge

    print(f"{merge(chosen.datasets, chosen.out)} episodes in {chosen.out}")
    return 0


def run_delete(chosen: argparse.Namespace) -> int:
    """The original stays as it is."""
    from wm_core.data.dataset_edit import delete

    print(f"{delete(chosen.dataset, chosen.episodes, chosen.out)} episodes in {chosen.out}")
    return 0


def run_label(chosen: argparse.Namespace) -> int:
    """The videos stay as they are, and all rows too, but for the number of their task."""
    from wm_core.data.dataset_growth import relabel

    said = {word: value for word in WORDS if (value := getattr(chosen, word))}
    relabel(chosen.dataset, chosen.episode, said)
    print(f"episode {chosen.episode}: {said or 'nothing was changed'}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
