"""Protects the pages for users: every command in them is one that `wm` takes, with settings and files that exist."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from wm_core import configuration
from wm_core.cli import evaluate_control
from wm_core.cli.arguments import config_of
from wm_core.cli.embedded_config import EmbeddedConfig, sorted_overrides
from wm_core.cli.main import command_line, parsed
from wm_core.cli.shipped import config_folder, description, shipped
from wm_core.data.collect import CollectConfig
from wm_core.evaluation.ablations import AblationsConfig
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.finetune_config import FinetuneConfig
from wm_core.evaluation.replay_config import ReplayConfig
from wm_core.planning.planner_config import PlannerConfig
from wm_core.training import train_config
from wm_core.training.decoder_config import DecoderTraining
from wm_core.training.encoder_config import read_training
from wm_core.training.overrides import overridden

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("data.md", "finetune.md", "planning.md", "record.md", "replay.md", "training.md")
CLASSES: dict[str, type[Any]] = {
    "evaluate replay": ReplayConfig,
    "collect": CollectConfig,
    "evaluate": EvaluateConfig,
    "ablations": AblationsConfig,
    "train-decoder": DecoderTraining,
    "plan": PlannerConfig,
    "finetune": FinetuneConfig,
}


def commands() -> list[str]:
    """Every command line that begins with ./wm and a verb, without its comment."""
    text = "\n".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES)
    lines = re.findall(r"^ *\./wm (.+)$|`\./wm ([^`]+)`", text, re.MULTILINE)
    return [(block or inline).partition("  #")[0].strip() for block, inline in lines]


def takes(chosen: argparse.Namespace, changed: list[str]) -> None:
    """Raises where the verb would refuse these settings of its own file, or of the one that was given."""
    if chosen.verb == "embedded":
        own, others = sorted_overrides(changed)
        config = overridden(configuration.read(EmbeddedConfig, shipped("embedded.yaml")), own)
        overridden(read_training(shipped(f"encoder_{config.recipe}.yaml")), others["encoder"])
        train_config.read(shipped("train_embedded.yaml"), others["train"])
    elif chosen.verb == "evaluate control":
        evaluate_control.configs(config_of(chosen), shipped("planner.yaml"), changed)
    elif chosen.verb == "train":
        train_config.read(shipped("train_embedded.yaml"), changed)
    elif chosen.verb == "train-encoder":
        overridden(read_training(config_of(chosen)), changed)
    else:
        assert chosen.verb in CLASSES, f"no check here for settings of {chosen.verb}"
        overridden(configuration.read(CLASSES[chosen.verb], config_of(chosen)), changed)


@pytest.mark.parametrize("verb", [name for name, parser in command_line()[1].items() if parser.get_default("example")])
def test_the_example_in_a_verbs_help_is_taken(verb: str) -> None:
    parser = command_line()[1][verb]
    assert parser.get_default("example") in " ".join(parser.format_help().split())
    chosen = argparse.Namespace(verb=verb, config=None, shipped_config=parser.get_default("shipped_config"))
    takes(chosen, parser.get_default("example").split())


@pytest.mark.parametrize("command", [line for line in commands() if line.split()[0] not in ("exec", "shell", "ros2")])
def test_wm_takes_the_command(command: str) -> None:
    chosen = parsed(shlex.split(command))
    if getattr(chosen, "config", None) is not None and chosen.config.parts[0] == "config":
        assert (ROOT / chosen.config).is_file()
    if getattr(chosen, "description", None):
        assert description(chosen.description).is_file()
    changed = getattr(chosen, "overrides", [])
    if changed:
        takes(chosen, changed)


def test_there_are_commands_to_check() -> None:
    verbs = {line.split()[0] for line in commands()}
    trained = {"embedded", "collect", "dataset", "train-encoder", "train-decoder", "export-encoder", "train", "evaluate", "ablations"}
    assert verbs == trained | {"finetune", "demo", "plan", "exec", "shell", "ros2"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_and_named_files_ship(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target
    for name in re.findall(r"`([a-z_]+\.yaml)`", text):
        assert (config_folder() / name).is_file(), name
