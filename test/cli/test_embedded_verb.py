"""Protects `wm embedded`: from nothing to a verdict in one command, which goes on where it stopped; and the verbs on what it made.

Everything is real, only small: a model of a few hundred weights that learns for four steps, so its verdict must be no.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wm_core.cli.main import main
from wm_core.vision.load import load_encoder
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.engine_config import EngineConfig
from wm_core.world_model.world_model import WorldModel

TRAIN = """
model.latent_dim=8 model.grids=[[4,4],[2,2]] model.dim=16 model.layers=2 model.time_every=2 model.heads=2 model.kv_heads=1
model.mlp_hidden=16 run.steps=4 run.batch=2 run.global_batch=2 run.threads=1 data.statistics_batches=2
"""
EVALUATE = """
error.clips=8 error.horizon=3 error.seeds=2 error.response_horizon=2 sampling.clips=4 sampling.horizon=2 sampling.seeds=2
sampling.steps=[1,4] calibration.clips=20 calibration.horizon=2 data.shifted.root='' states.frames=24 strips.count=1
plan_rank.trials.starts=2 plan_rank.trials.candidates=4 plan_rank.trials.horizon=2
"""
ENCODER = """
steps=2 batch=4 network.patch=24 network.dim=8 network.depth=1 network.heads=2 decoder_dim=8 decoder_depth=1
"""
OTHERS = """
threads=1 sets.train.episodes=3 sets.train.frames=24 sets.held_out.episodes=4 sets.held_out.frames=24
sets.settling.episodes=2 sets.settling.frames=24 sets.unlabelled.episodes=2 sets.unlabelled.frames=24
recipe=masked
decoder.steps=2 decoder.batch=4 decoder.network.width=8
"""
SECTIONS = {"encoder": ENCODER, "train": TRAIN, "evaluate": EVALUATE}
OVERRIDES = OTHERS.split() + [f"{name}.{word}" for name, words in SECTIONS.items() for word in words.split()]
STAGES = ["collect", "encoder", "world model", "decoder", "evaluation", "shipping"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("embedded") / "out"
    assert main(["embedded", "--out", str(out), *OVERRIDES]) == 0
    return out


def changed_files(out: Path, since: dict[Path, int]) -> set[str]:
    return {path.relative_to(out).parts[0] for path, stamp in stamps(out).items() if since.get(path) != stamp}


def stamps(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_it_ends_with_a_verdict_and_a_page(made: Path) -> None:
    verdict = json.loads(next((made / "model").glob("step_*/verdict.json")).read_text(encoding="utf-8"))
    assert verdict["may_plan"] is False
    page = (made / "evaluation" / "evaluation.md").read_text(encoding="utf-8")
    assert page.splitlines()[0] == "# World model step_000000004: it may not be planned with"
    assert {"error.png", "states.png", "plan_rank.png", "strip_0.png"} <= {path.name for path in (made / "evaluation").iterdir()}
    assert list(json.loads((made / "stages.json").read_text(encoding="utf-8"))) == STAGES


def test_what_ships_imagines_in_bytes_and_holds_nothing_of_the_training(made: Path) -> None:
    shipped = made / "shipped"
    model = WorldModel.open(shipped / "world_model", engine=EngineConfig("bytes", 0))
    encoder = load_encoder(str(shipped / "encoder"), torch.device("cpu"))
    model.require_encoder(encoder.name, encoder.weight_hash)
    context = model.context(torch.zeros(1, 2, 16, 8), Conditioning(torch.zeros(1, 2, 7), torch.ones(1, 2, dtype=torch.bool)))
    assert model.imagine(context, torch.zeros(1, 3, 2, 7)).isfinite().all()
    assert {path.name for path in shipped.iterdir()} == {"encoder", "decoder", "world_model", "goals"}
    assert not list(shipped.rglob("training.safetensors")), "the encoder's optimiser stays at home"
    assert not {"model.safetensors", "training_state.safetensors"} & {path.name for path in (shipped / "world_model").iterdir()}


def test_given_again_it_does_nothing(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stamps(made)
    assert main(["embedded", "--out", str(made), *OVERRIDES]) == 0
    assert capsys.readouterr().out.count("done before") == len(STAGES)
    assert stamps(made) == before


def test_killed_before_the_model_was_finished_it_goes_on_there(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = made / "stages.json"
    stages = json.loads(record.read_text(encoding="utf-8"))
    stages["world model"]["seconds"] = None
    record.write_text(json.dumps(stages), encoding="utf-8")
    before = stamps(made)
    assert main(["embedded", "--out", str(made), *OVERRIDES]) == 0
    assert capsys.readouterr().out.count("done before") == len(STAGES) - 1
    # The last checkpoint is whole, so nothing is left to learn.
    assert changed_files(made, before) <= {"stages.json", "model"}
    assert [path.name for path in (made / "model").glob("step_*")] == ["step_000000004"]


def test_other_settings_are_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stamps(made)
    assert main(["embedded", "--out", str(made), *OVERRIDES, "train.run.seed=3"]) == 1
    assert "run.seed: 3; allowed: run.seed: 0" in capsys.readouterr().err
    assert stamps(made) == before


@pytest.mark.parametrize(
    ("word", "said"),
    [("train.run.step=3", "nearest: run.steps"), ("set.train.episodes=3", "nearest: sets"), ("sets.train.seed=2", "seeds")],
)
def test_a_wrong_setting_is_refused_before_anything_is_made(
    word: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embedded", "--out", str(tmp_path / "out"), word]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "data").exists()


def test_the_verbs_work_on_its_folder(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = made / "config"
    assert main(["train", "--config", str(config / "train_embedded.yaml"), "--out", str(tmp_path / "a"), "--dry-run", *TRAIN.split()]) == 0
    assert "parameters:" in capsys.readouterr().out
    words = ["evaluate", str(made / "model"), "--config", str(config / "evaluate.yaml"), "--out", str(tmp_path / "b")]
    assert main([*words, *EVALUATE.split()]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("may be planned with: no")
    data = ["--dataset", str(made / "data" / "embedded_arm")]
    words = ["train-decoder", *data, "--encoder", str(made / "data" / "encoder"), "--out", str(tmp_path / "c"), "--threads", "1"]
    assert main([*words, "steps=1", "batch=2", "network.width=8"]) == 0
    words = ["train-encoder", "--config", str(config / "encoder_masked.yaml"), *data, "--out", str(tmp_path / "d"), "--threads", "1"]
    assert main([*words, *ENCODER.split()]) == 0
    assert {"decoder.yaml", "encoder.yaml"} <= {path.name for folder in "cd" for path in (tmp_path / folder).iterdir()}
