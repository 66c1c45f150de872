"""Protects the face of `wm`: help is there for every verb and loads nothing heavy, faults are one message and exit status 1."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wm_core.cli.main import VERBS, main

NAMES = (
    "demo",
    "embedded",
    "collect",
    "dataset",
    "train-encoder",
    "train-decoder",
    "export-encoder",
    "train",
    "evaluate",
    "evaluate control",
    "evaluate replay",
    "finetune",
    "plan",
    "ablations",
)
HEAVY = {"torch", "numpy", "mujoco", "lerobot", "matplotlib", "yaml"}


def test_help_loads_nothing_heavy() -> None:
    code = "import sys\nfrom wm_core.cli.main import main\ntry: main(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())
    assert all(name in done.stdout for name in NAMES)


@pytest.mark.parametrize("words", [[name] for name in NAMES] + [["dataset", "inspect"], ["dataset", "convert"], ["evaluate", "control"]])
def test_every_verb_has_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(NAMES) == len(VERBS)
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: wm {' '.join(words)}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["collect", "--out", "OUT/set", "episode=3"], "nearest: episodes"),
        (["collect", "--out", "OUT/set", "episodes=0"], "1 .. 100000"),
        (["collect", "--out", "OUT/set", "episodes"], "name=value"),
        (["collect", "--out", "OUT/set", "--config", "OUT/none.yaml"], "OUT/none.yaml"),
        (["dataset", "inspect", "OUT/none"], "OUT/none"),
        (["dataset", "convert", "OUT/none", "OUT/set"], "OUT/none"),
        (["train-encoder", "--dataset", "OUT/none", "--out", "OUT/set"], "OUT/none"),
        (["train-encoder", "--dataset", "OUT/none", "--out", "OUT/set", "step=5"], "nearest: steps"),
        (["train-decoder", "--dataset", "OUT/none", "--out", "OUT/set", "--encoder", "dinov3_vitb61"], "nearest: dinov3_vitb16"),
        (["export-encoder", "OUT/none", "--out", "OUT/encoder.onnx"], "unknown encoder"),
        (["export-encoder", "OUT/none.yaml", "--out", "OUT/encoder.onnx"], "OUT/none.yaml"),
        (["train", "--out", "OUT/set", "run.stepps=5"], "nearest: run.steps"),
        (["train", "run.steps=5", "--out", "OUT/set", "run.stepps=5"], "nearest: run.steps"),
        (["evaluate", "OUT/none", "--out", "OUT/set"], "no checkpoint here"),
        (["evaluate", "OUT/none", "--out", "OUT/set", "error.clip=9"], "nearest: error.clips"),
        (["evaluate", "control", "--out", "OUT/set", "tasks.trial=5"], "nearest: tasks.trials"),
        (["evaluate", "control", "--out", "OUT/set", "planner.search.sample=5"], "nearest: search.samples"),
        (["evaluate", "control", "--out", "OUT/set", "--encoder", "OUT/none"], "unknown encoder"),
        (["evaluate", "control", "--ros", "--arm", "OUT/a"], "over ROS this cannot be told"),
        (["evaluate", "control", "--ros", "--model", "OUT/a", "--encoder", "OUT/b"], "from one folder"),
        (["plan", "OUT/none.png", "OUT/none.png", "--out", "OUT/set", "search.sample=5"], "nearest: search.samples"),
        (["plan", "OUT/none.png", "OUT/none.png", "--out", "OUT/set", "--encoder", "OUT/none"], "unknown encoder"),
        (["ablations", "--out", "OUT/set", "step=5"], "nearest: steps"),
    ],
)
def test_a_fault_is_one_message_and_leaves_nothing(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("OUT", str(tmp_path)) for word in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("wm: ")
    assert printed.err.count("\n") == 1
    assert said.replace("OUT", str(tmp_path)) in printed.err
    assert not (tmp_path / "set").exists()


def test_a_mask_that_hides_everything_is_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2
    import numpy as np

    from wm_core.cli.shipped import model

    dark, picture = tmp_path / "dark.png", str(model("goals") / "default" / "picture.png")
    cv2.imwrite(str(dark), np.full((10, 10), 127, np.uint8))
    assert main(["plan", picture, picture, "--mask", str(dark), "--out", str(tmp_path / "set")]) == 1
    assert "hides all that the encoder sees; got: 0 bright pixels" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_disk_without_room_is_one_message(collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit on the size of files fails a write just as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        status = main(["dataset", "inspect", str(collected), "--json", str(tmp_path / "look.json")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    said = capsys.readouterr().err
    assert status == 1
    assert said.startswith("wm: the disk takes nothing more; got: [Errno 27] File too large")
    assert said.count("\n") == 1


def test_another_error_of_the_operating_system_is_not_taken_for_a_full_disk(collected: Path, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        main(["dataset", "inspect", str(collected), "--json", str(tmp_path)])


@pytest.mark.parametrize(
    "arguments", [["collect", "--out", "OUT/set", "--episodes", "3"], ["dataset", "inspect", "OUT", "most=3"], ["colect"]]
)
def test_words_that_mean_nothing_are_refused(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([word.replace("OUT", str(tmp_path)) for word in arguments])
    assert left.value.code == 2
    assert "usage: wm" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
