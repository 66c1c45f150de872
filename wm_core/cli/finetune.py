"""`wm finetune`: a world model learns from new episodes, and is offered when it is better on them and has not forgotten."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wm_core.cli.arguments import add_config, add_overrides, config_of
from wm_core.cli.shipped import model

if TYPE_CHECKING:
    from wm_core.evaluation.finetune_config import FinetuneConfig


def add(verbs: Any) -> None:
    """The verb's arguments."""
    what = "let a world model learn from new episodes without forgetting, and offer it when it did"
    parser = verbs.add_parser("finetune", help=what, description=f"{what}. Killed, the same command goes on.")
    add_config(parser, "finetune.yaml", "how, on what, and when the result is offered")
    parser.add_argument("--model", type=Path, default=model("world_model"), help="the checkpoint to begin with (default: the embedded one)")
    for name, says in (("new", "learn from"), ("old", "replay"), ("reference", "measure forgetting on, not trained on")):
        text = f"dataset to {says}, in place of the file's data.{name}; may be given again"
        parser.add_argument(f"--{name}", type=Path, action="append", default=[], metavar="DIR", help=text)
    parser.add_argument("--description", default="embedded_arm", help="description of the sets given here (default: embedded_arm)")
    parser.add_argument("--out", type=Path, default=Path("out/finetune"), help="directory of everything (default: out/finetune)")
    add_overrides(parser, "run.steps=400 data.old_share=0.3")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Exit status 0 says that the new model is offered, 3 that it is withheld."""
    from wm_core.evaluation.finetune import OFFERED, WITHHELD, finetune

    path = config_of(chosen)
    made = finetune(chosen.model, configured(chosen, path), path.parent, chosen.out, _say)
    _say(f"{made.reason}; {chosen.out / (OFFERED if made.offered else WITHHELD)}, {chosen.out / 'finetune.md'}")
    return 0 if made.offered else 3


def configured(chosen: argparse.Namespace, path: Path) -> FinetuneConfig:
    """The file with the sets and settings of the command line in place of its own."""
    from wm_core import configuration
    from wm_core.evaluation.finetune_config import FinetuneConfig
    from wm_core.training.overrides import overridden

    mapping = configuration.read_mapping(path)
    sets = {name: _sets(getattr(chosen, name), chosen.description) for name in ("new", "old", "reference")}
    data = mapping.get("data")
    if isinstance(data, dict):
        mapping["data"] = data | {name: found for name, found in sets.items() if found}
    return overridden(configuration.build(FinetuneConfig, mapping, str(path)), chosen.overrides)


def _sets(roots: list[Path], word: str) -> list[dict[str, str]]:
    """As the file would hold them, but from the working directory on."""
    from wm_core.cli.shipped import description

    return [{"root": str(root.expanduser().resolve()), "description": str(description(word).resolve())} for root in roots]


def _say(line: str) -> None:
    print(line, flush=True)
