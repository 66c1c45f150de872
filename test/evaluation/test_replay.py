"""Protects replay evaluation: predictions are judged by what came, plans by what was done, and what is missing is counted.

A recording that is played gives what its file gives, but for what playing cannot tell.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from arm_recording import delayed, described, moving_arm, of_other_arm
from hypothesis import given
from hypothesis import strategies as st
from recordings import CONFIG, START, contract, write_bag

from wm_core import configuration
from wm_core.cli import shipped
from wm_core.cli.main import main
from wm_core.data.bag import Bag
from wm_core.data.errors import DatasetError
from wm_core.data.heard import Heard
from wm_core.data.recording_config import CAMERA, GUARD, Contract
from wm_core.data.recording_config import COMMANDED as WORDS
from wm_core.errors import CheckpointError
from wm_core.evaluation import replay_page
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.replay import Replay, missing, replayed
from wm_core.evaluation.replay_config import ReplayConfig
from wm_core.evaluation.replay_result import ReplayResult, evaluate_replay
from wm_core.vision.embedded import load_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.world_model.world_model import WorldModel

COMMANDED, IMAGES, STATUS = "/safety_guard/commanded", "/camera/front/image_raw", "/safety_guard/status"
KINDS = {COMMANDED: WORDS, IMAGES: CAMERA, STATUS: GUARD}
LATER = 86_400.0  # s between recording and playing
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


def played(heard: list[Heard], encoder: FrozenEncoder, told: Contract) -> Replay:
    """As a node hears it over topics, a day later; which arm it was is known at the end."""
    replay = Replay(encoder, contract(), played=True)
    for one in heard:
        replay.hear(replace(one, received=one.received + LATER), KINDS[one.topic])
    return replay.judged(told)


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
    assert whole.age is not None
    assert whole.age[0] == pytest.approx(0.03, abs=1e-4)
    assert whole.heard == {IMAGES: 40, COMMANDED: 200, STATUS: 100}
    assert whole.guard_cut == pytest.approx(0.25)
    assert whole.seconds == pytest.approx(3.9)


def test_gaps_and_missing_words_of_the_guard_are_counted(
    tmp_path: Path, whole: ReplayResult, encoder: FrozenEncoder, model: WorldModel
) -> None:
    begin = HEARD[0].received
    torn = [one for one in HEARD if one.topic != IMAGES or not begin + 2.0 < one.received < begin + 2.35]
    gap = found(tmp_path, torn, encoder, model)
    assert gap.missed == {"a frame that is missing in a gap": 4}
    assert gap.heard[IMAGES] == 36
    assert gap.prediction.starts < whole.prediction.starts
    (tmp_path / "b").mkdir()
    mute = [one for one in HEARD if one.topic != COMMANDED or one.received < begin + 2.5]
    silent = found(tmp_path / "b", mute, encoder, model)
    assert silent.missed["a beginning without the guard's word of what was done"] >= 1


def test_what_is_played_gives_the_numbers_of_its_file_but_no_ages(
    tmp_path: Path, whole: ReplayResult, encoder: FrozenEncoder, model: WorldModel
) -> None:
    replay = played(HEARD, encoder, contract())
    told = evaluate_replay(replay, model, CONFIGURED, None)[0]
    assert told.age is None
    assert told.prediction == whole.prediction
    assert (told.heard, told.missed, told.guard_cut) == (whole.heard, {}, whole.guard_cut)
    page = replay_page.write(told, tmp_path / "out", "what was heard", strip=False).read_text()
    assert "age of a frame when it came, p50, p95 | not known: it was played" in page
    assert json.loads((tmp_path / "out" / "replay.json").read_text())["age"] is None


def test_what_is_missing_is_counted_by_the_rate_that_is_there(encoder: FrozenEncoder) -> None:
    words = [one for one in HEARD if one.topic == COMMANDED]
    halved = played(words[::2], encoder, contract())
    assert halved.gaps() == {}, "a stream at half the contract's rate has lost nothing"
    torn = played([one for number, one in enumerate(words[::2]) if number not in (10, 11, 12, 40)], encoder, contract())
    assert torn.gaps() == {"a word of the guard that is missing in a gap": 4}
    statuses = [one for one in HEARD if one.topic == STATUS]
    assert played(statuses[:20] + statuses[25:], encoder, contract()).gaps() == {"a status of the guard that is missing in a gap": 5}


@given(
    rate=st.floats(1.0, 500.0),
    jitter=st.lists(st.floats(-0.1, 0.1), min_size=30, max_size=30),
    out=st.sets(st.integers(1, 28), max_size=8),
)
def test_of_a_stream_of_any_rate_as_many_are_missing_as_were_left_out(rate: float, jitter: list[float], out: set[int]) -> None:
    stamps = [START + (number + late) / rate for number, late in enumerate(jitter) if number not in out]
    assert missing(stamps) == len(out)
    assert missing(reversed(stamps)) == len(out), "they may come in any order"
    assert missing(stamps[:1]) == missing([]) == 0


def test_words_of_the_guard_wait_until_it_is_known_whose_they_are(encoder: FrozenEncoder) -> None:
    heard, urdf = of_other_arm([one for one in HEARD if one.topic != IMAGES])
    own = played(heard, encoder, replace(contract(), urdf=urdf))
    assert (len(own.readings), own.missed) == (200, {})
    wrong = played(heard, encoder, contract())
    assert (len(wrong.readings), wrong.missed) == (0, {"a word of the guard without the arm's joints": 200})
    assert "lab_" in own.arm
    assert wrong.arm == "the embedded arm"


def test_the_verb_takes_the_arm_that_the_bag_describes(tmp_path: Path) -> None:
    heard, urdf = of_other_arm(HEARD)
    bag = write_bag(tmp_path / "lab.mcap", [described(urdf, START), *heard])
    assert Bag(bag).description == urdf
    assert Bag(write_bag(tmp_path / "bare.mcap", heard[:1])).description == ""
    assert main(["evaluate", "replay", str(bag), "--out", str(tmp_path / "out"), "stride=1.6", "plans=0"]) == 0
    assert "The guard's words are those of 'lab_" in (tmp_path / "out" / "replay.md").read_text()


def test_turns_are_compared_where_there_are_some(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "turning.mcap", moving_arm(3.0, turn=0.6))
    assert main(["evaluate", "replay", str(bag), "--out", str(tmp_path / "out"), "stride=1.6", "plans=3", "ahead=1.0"]) == 0
    numbers = json.loads((tmp_path / "out" / "replay.json").read_text())
    for one in numbers["plans"]:
        planned, done = np.array(one["planned"][3:6]), np.array(one["done"][3:6])
        assert np.linalg.norm(done) == pytest.approx(0.12, rel=0.2), "a step of 0.2 s"
        assert one["turn_ratio"] == pytest.approx(np.linalg.norm(planned) / np.linalg.norm(done))
        if one["turn_cosine"] is not None:
            assert one["turn_cosine"] == pytest.approx(planned @ done / np.linalg.norm(planned) / np.linalg.norm(done))
    assert numbers["turn_magnitude"] == pytest.approx(np.median([one["turn_ratio"] for one in numbers["plans"]]))
    assert "| planned turn / done turn, median | 0." in (tmp_path / "out" / "replay.md").read_text()


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
    assert numbers["turn_cosine"] is None
    assert "| planned turn / done turn, median | none moved |" in page
    assert f"| {COMMANDED} | 200 |" in page
    assert "The guard's words are those of the embedded arm." in page
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
