"""The configuration of `wm embedded`, as it stands in config/embedded.yaml, and overrides that are sorted by the file they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.errors import ConfigurationError

FILES = ("collect", "encoder", "train", "decoder", "evaluate")


@dataclass(frozen=True)
class SetSize:
    """What one set has of its own."""

    episodes: int = setting("Episodes", low=1, high=100_000)
    frames: int = setting("Rows of an episode", low=2, high=100_000)
    seed: int = setting("What its draws come from", low=0, high=99_999)


@dataclass(frozen=True)
class Sets:
    """The sets that are collected."""

    train: SetSize = setting("Labelled episodes that everything is trained on")
    settling: SetSize = setting("Labelled episodes that come to a place and stay there, for the world model")
    held_out: SetSize = setting("Labelled episodes that nothing is trained on")
    unlabelled: SetSize = setting("Pictures alone, for the world model")

    def __post_init__(self) -> None:
        seeds = [self.train.seed, self.settling.seed, self.held_out.seed, self.unlabelled.seed]
        if len(set(seeds)) < len(seeds):
            raise ConfigurationError("two sets would hold the same episodes", got=f"seeds {seeds}", mend="sets.*.seed")


@dataclass(frozen=True)
class EmbeddedConfig:
    """The whole embedded model from nothing."""

    sets: Sets = setting("The sets that are collected")
    recipe: str = setting("Recipe of the encoder", choices=("convolutional", "masked", "distilled"))
    goal: tuple[float, float, float] = setting("Where the tool is in the goal named default, pointing down", unit="m", low=-10.0, high=10.0)
    threads: int = setting("Threads of torch, and sets that are collected at once", low=1, high=1024)


def sorted_overrides(overrides: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Overrides of embedded.yaml, and those that begin with the name of a stage's file, by that name and without it."""
    own: list[str] = []
    others: dict[str, list[str]] = {name: [] for name in FILES}
    for override in overrides:
        name, dot, rest = override.partition(".")
        if dot and name in others:
            others[name].append(rest)
        else:
            own.append(override)
    return own, others
