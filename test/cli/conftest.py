"""A tiny labelled dataset that `wm collect` makes once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wm_core.cli.main import main


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "set"
    assert main(["collect", "--out", str(out), "episodes=2", "frames=8", "seed=7"]) == 0
    return out
