"""Protects replay evaluation: predictions are judged by what came, plans by what was done, and what is missing is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from arm_recording import delayed, moving_arm
from recordings import CONFIG, contract, write_bag

from wm_core import configuration
from wm_core.cli import shipped
from wm_core.cli.main import main
from wm_core.data.bag import Bag
from wm_core.data.errors import DatasetError
from wm_core.data.heard import Heard
from wm_core.errors import CheckpointError
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.replay import replayed
from wm_core.evaluation.replay_config import ReplayConfig
from wm_core.evaluation.replay_result import ReplayResult, evaluate_replay
from wm_core.vision.embedded import load_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.world_model.world_model import WorldModel

COMMANDED, IMAGES = "/safety_guard/commanded", "/camera/front/image_raw"
HEARD = moving_arm(4.0)
CONFIGURED = replace(configuration.read(ReplayConfig, CONFIG / "replay.yaml"), stride=0.4, plans=0)


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    return load_embedded(shipped.model("encoder"), torch.device("cpu"))


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return WorldModel.open(shipped.model("world_model"))


def found(folder: Path, heard: list[Heard], encoder: FrozenEncoder, model: WorldModel) -> ReplayResult:
    replay = replayed(Bag(write_bag(folder / "heard.mcap", heard)), encoder, contract())
    return evaluate_replay(replay, model, CONFIGURED, None)[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: FrozenEncoder, model: WorldModel) -> ReplayResult:
    return found(tmp_path_factory.mktemp("whole"), HEARD, encoder, model)


def test_the_shipped_model_predicts_a_moving_arm_better_than_holding_its_last_frame(whole: ReplayResult) -> None:
    assert whole.frames == 40
    assert whole.prediction.starts >= 5
    assert whole.prediction.ratio[-1] < 0.5
    assert whole.prediction.covered is not None
    assert not whole.missed


def test_actions_that_are_told_a_step_late_make_it_worse(
    tmp_path: Path, whole: ReplayResult, encoder: FrozenEncoder, model: WorldModel
) -> None:
    late = found(tmp_path, delayed(HEARD, COMMANDED, 0.2), encoder, model)
    assert late.prediction.ratio[0] > 1.5 * whole.prediction.ratio[0]


def test_what_came_when_is_told(whole: ReplayResult) -> None:
    assert whole.age[0] == pytest.approx(0.03, abs=1e-4)
    assert whole.guard_cut == pytest.approx(0.25)
    assert whole.seconds == pytest.approx(3.9)


def test_gaps_and_missing_words_of_the_guard_are_counted(
    tmp_path: Path, whole: ReplayResult, encoder: FrozenEncoder, model: WorldModel
) -> None:
    begin = HEARD[0].received
    torn = [one for one in HEARD if one.topic != IMAGES or not begin + 2.0 < one.received < begin + 2.35]
    gap = found(tmp_path, torn, encoder, model)
    assert gap.missed["a gap of more than one and a half frames"] == 1
    assert gap.prediction.starts < whole.prediction.starts
    (tmp_path / "b").mkdir()
    mute = [one for one in HEARD if one.topic != COMMANDED or one.received < begin + 2.5]
    silent = found(tmp_path / "b", mute, encoder, model)
    assert silent.missed["a beginning without the guard's word of what was done"] >= 1


def test_the_verb_writes_numbers_page_plot_and_strip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "heard.mcap", HEARD)
    assert main(["evaluate", "replay", str(bag), "--out", str(tmp_path / "out"), "stride=0.8", "plans=3", "ahead=1.0"]) == 0
    numbers = json.loads((tmp_path / "out" / "replay.json").read_text())
    assert len(numbers["plans"]) == 3
    assert numbers["cosine"] > 0.3, "a plan toward where the arm went goes that way"
    assert all(np.isfinite(numbers["ratio"]))
    assert 0.0 <= numbers["planned_cut"] <= 1.0
    assert all(one["left"] > 0.0 for one in numbers["plans"])
    page = (tmp_path / "out" / "replay.md").read_text()
    assert "a limit of the guard would have cut" in page
    for picture in ("replay.png", "strip.png"):
        assert f"({picture})" in page
        assert (tmp_path / "out" / picture).stat().st_size > 5000
    assert "replay.md" in capsys.readouterr().out


def test_bags_that_cannot_be_replayed_are_named(tmp_path: Path, encoder: FrozenEncoder, model: WorldModel) -> None:
    with pytest.raises(DatasetError, match=r"no topic 'camera/front/image_raw'"):
        replayed(Bag(write_bag(tmp_path / "a.mcap", [one for one in HEARD if one.topic != IMAGES])), encoder, contract())
    with pytest.raises(EvaluationError, match=r"nothing of this recording can be predicted.*10 frames 0\.2 s apart"):
        found(tmp_path, [one for one in HEARD if one.received < HEARD[0].received + 1.0], encoder, model)
    other = replayed(Bag(write_bag(tmp_path / "b.mcap", HEARD[:60])), encoder, contract())
    other.encoder.weight_hash = "0" * 64
    with pytest.raises(CheckpointError, match="encoder"):
        evaluate_replay(other, model, CONFIGURED, None)
