"""Protects the pages for users: every command in them is one that `wm` takes, with settings and files that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from wm_core import configuration
from wm_core.cli.arguments import config_of
from wm_core.cli.embedded_config import EmbeddedConfig, sorted_overrides
from wm_core.cli.main import parsed
from wm_core.cli.shipped import config_folder, description, shipped
from wm_core.data.collect import CollectConfig
from wm_core.training import train_config
from wm_core.training.encoder_config import read_training
from wm_core.training.overrides import overridden

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("data.md", "training.md")


def commands() -> list[str]:
    """Every command line that begins with ./wm and a verb, without its comment."""
    text = "\n".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES)
    lines = re.findall(r"^ *\./wm (.+)$|`\./wm ([^`]+)`", text, re.MULTILINE)
    return [(block or inline).partition("  #")[0].strip() for block, inline in lines]


@pytest.mark.parametrize("command", [line for line in commands() if not line.startswith("exec ")])
def test_wm_takes_the_command(command: str) -> None:
    chosen = parsed(shlex.split(command))
    if getattr(chosen, "config", None) is not None and chosen.config.parts[0] == "config":
        assert (ROOT / chosen.config).is_file()
    if getattr(chosen, "description", None):
        assert description(chosen.description).is_file()
    changed = getattr(chosen, "overrides", [])
    if chosen.verb == "collect":
        overridden(configuration.read(CollectConfig, config_of(chosen)), changed)
    elif chosen.verb == "embedded":
        own, others = sorted_overrides(changed)
        config = overridden(configuration.read(EmbeddedConfig, shipped("embedded.yaml")), own)
        overridden(read_training(shipped(f"encoder_{config.recipe}.yaml")), others["encoder"])
        train_config.read(shipped("train_embedded.yaml"), others["train"])
    else:
        assert not changed, f"no check here for settings of {chosen.verb}"


def test_there_are_commands_to_check() -> None:
    verbs = {line.split()[0] for line in commands()}
    assert {"embedded", "collect", "dataset", "train-encoder", "train-decoder", "train", "evaluate", "ablations", "exec"} == verbs


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_and_named_files_ship(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target
    for name in re.findall(r"`([a-z_]+\.yaml)`", text):
        assert (config_folder() / name).is_file(), name
