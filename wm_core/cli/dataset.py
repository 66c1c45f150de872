"""`wm dataset`: inspect, convert, and what dataset_episodes adds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from wm_core.cli import dataset_episodes


def add(verbs: Any) -> None:
    """The arguments of all."""
    parser = verbs.add_parser("dataset", help="look at a LeRobot dataset, convert one, or move episodes in and out of it")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    look = actions.add_parser("inspect", help="rates, gaps, lag between action and motion, idling, corrupt episodes")
    look.add_argument("path", type=Path, help="directory of a LeRobot v3 dataset")
    look.add_argument(
        "--description", help="its description: a YAML, or the name of one that ships (default: all its cameras, actions not known)"
    )
    look.add_argument("--most", type=int, default=1000, help="episodes to open at most, evenly picked (default: 1000)")
    look.add_argument("--picture", type=Path, help="draw what was found into this file")
    look.add_argument("--json", type=Path, help="write what was found into this file")
    look.set_defaults(run=run_inspect)
    change = actions.add_parser("convert", help="write a LeRobot v2.1 dataset as v3; the original stays as it is")
    change.add_argument("path", type=Path, help="directory of the v2.1 dataset")
    change.add_argument("out", type=Path, help="directory of the v3 dataset; it must not exist yet")
    change.set_defaults(run=run_convert)
    dataset_episodes.add(actions)


def run_inspect(chosen: argparse.Namespace) -> int:
    """Print a page; corrupt episodes are counted there and are no error."""
    from wm_core import configuration
    from wm_core.cli.shipped import description
    from wm_core.data.dataset_config import DatasetConfig
    from wm_core.data.inspect import inspect

    described = configuration.read(DatasetConfig, description(chosen.description)) if chosen.description else None
    report = inspect(chosen.path, described, chosen.most, chosen.picture)
    print(report.text())
    if chosen.json is not None:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(report.mapping(), indent=2) + "\n", encoding="utf-8")
    return 0


def run_convert(chosen: argparse.Namespace) -> int:
    """The lerobot package does the conversion, on a copy."""
    from wm_core.data.convert import convert

    convert(chosen.path, chosen.out)
    print(f"converted to {chosen.out}")
    return 0
