"""Protects `wm collect` and `wm dataset`: what is asked for is made, and what is made is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wm_core import configuration
from wm_core.cli.main import main
from wm_core.cli.shipped import description
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader


def test_overrides_decide_what_is_collected(collected: Path) -> None:
    reader = DatasetReader(collected, configuration.read(DatasetConfig, description("embedded_arm")))
    np.testing.assert_array_equal(reader.metadata.length, [8, 8])
    assert reader.frames(1, np.array([7]), "front").shape == (1, 3, 96, 96)


def test_a_dataset_is_never_collected_over_another(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.stat().st_mtime_ns for path in collected.rglob("*"))
    assert main(["collect", "--out", str(collected), "episodes=1", "frames=2"]) == 1
    assert str(collected) in capsys.readouterr().err
    assert sorted(path.stat().st_mtime_ns for path in collected.rglob("*")) == before


def test_inspection_tells_on_the_terminal_in_a_file_and_in_a_picture(
    collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, found = tmp_path / "look" / "set.png", tmp_path / "look" / "set.json"
    words = ["dataset", "inspect", str(collected), "--description", "embedded_arm", "--picture", str(picture), "--json", str(found)]
    assert main(words) == 0
    assert "2 episodes, 16 rows" in capsys.readouterr().out
    record = json.loads(found.read_text(encoding="utf-8"))
    assert (record["episodes"], record["labelled"], record["corrupt"]) == (2, 1.0, [])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_a_description_no_actions_are_known(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "inspect", str(collected)]) == 0
    assert "actions known in 0.0%" in capsys.readouterr().out


def test_what_is_v3_already_is_not_converted(collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "convert", str(collected), str(tmp_path / "new")]) == 1
    assert "allowed: v2.1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
