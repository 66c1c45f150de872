"""Protects that a bag which is played gives the numbers of the same bag read from its file, of the arm that it describes, and its gaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arm_recording import described, moving_arm, of_other_arm
from arm_system import ArmSystem
from recordings import write_bag
from ros_process import RosProcess, node_command

PARAMETERS: dict[str, object] = {"plans": 0, "stride": 0.4}
COMMANDED, IMAGES, STATUS = "/safety_guard/commanded", "/camera/front/image_raw", "/safety_guard/status"


def numbers(folder: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((folder / "replay.json").read_text())


class Evaluation:
    """One bag, played to a node and read by another; `said` holds the output of hearing, playing and reading."""

    def __init__(self, system: ArmSystem, bag: Path, folder: Path, **parameters: object) -> None:
        played, read = folder / "played", folder / "read"
        told = {**PARAMETERS, **parameters}
        commands = {
            "hearing": node_command("replay_evaluator", parameters={**told, "out": str(played), "quiet": 2.0}),
            "playing": [*node_command("play_bag")[:1], str(bag), "--wait"],
            "reading": node_command("replay_evaluator", node="reader", parameters={**told, "out": str(read), "bag": str(bag)}),
        }
        processes = {name: RosProcess(command, system.domain, folder / f"{name}.log") for name, command in commands.items()}
        output = lambda: {name: process.output() for name, process in processes.items()}  # noqa: E731
        try:
            written = lambda: (played / "replay.md").is_file() and (read / "replay.md").is_file()  # noqa: E731
            system.observer.until(written, lambda: "\n".join(output().values()), within=120.0)
            assert processes["playing"].wait() == 0, output()["playing"]
        finally:
            for process in processes.values():
                process.end()
        self.played, self.read, self.said = numbers(played), numbers(read), output()
        self.page = (played / "replay.md").read_text()

    def agree(self) -> None:
        """Prediction and counts are the same."""
        for key in ("model", "copy", "covered"):
            assert np.allclose(self.played["prediction"][key], self.read["prediction"][key], rtol=1e-6, atol=1e-9), key
        assert self.played["prediction"]["starts"] == self.read["prediction"]["starts"]
        for key in ("arm", "frames", "heard", "missed", "guard_cut"):
            assert self.played[key] == self.read[key], key


def test_played_and_read_give_the_same_numbers(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    found = Evaluation(new_system(), write_bag(tmp_path / "heard.mcap", moving_arm(3.0)), tmp_path)
    found.agree()
    assert found.played["heard"] == {IMAGES: 30, COMMANDED: 150, STATUS: 75}
    assert found.played["missed"] == {}
    assert f"30 x {IMAGES}" in found.said["playing"]
    assert found.read["age"] == pytest.approx([0.03, 0.03], abs=1e-4)
    assert found.played["age"] is None
    for name in ("hearing", "reading"):
        assert "no robot description came" in found.said[name]
    assert found.played["arm"] == "the embedded arm"


def test_messages_that_are_left_out_are_counted_and_plans_are_made_all_the_same(
    new_system: Callable[[], ArmSystem], tmp_path: Path
) -> None:
    whole = moving_arm(4.0)
    begin = whole[0].received
    gaps = {IMAGES: (begin + 3.15, begin + 3.45), COMMANDED: (begin + 3.505, begin + 3.605)}  # a frame each 0.1 s, a word each 0.02 s
    torn = [one for one in whole if not (one.topic in gaps and gaps[one.topic][0] < one.received < gaps[one.topic][1])]
    found = Evaluation(new_system(), write_bag(tmp_path / "torn.mcap", torn), tmp_path, plans=2, ahead=1.0)
    found.agree()
    out = {topic: sum(one.topic == topic for one in whole) - sum(one.topic == topic for one in torn) for topic in gaps}
    assert out == {IMAGES: 3, COMMANDED: 5}
    assert found.played["missed"]["a frame that is missing in a gap"] == out[IMAGES]
    assert found.played["missed"]["a word of the guard that is missing in a gap"] == out[COMMANDED]
    assert len(found.played["plans"]) == len(found.read["plans"]) > 0
    for one, other in zip(found.played["plans"], found.read["plans"], strict=True):
        assert one["planned"] == pytest.approx(other["planned"], rel=1e-4, abs=1e-6)
        assert one["done"] == pytest.approx(other["done"], rel=1e-6, abs=1e-9)


def test_the_arm_is_the_one_that_the_bag_describes_even_where_that_comes_late(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    heard, urdf = of_other_arm(moving_arm(3.0))
    late = described(urdf, heard[0].received + 1.0)
    bag = write_bag(tmp_path / "lab.mcap", sorted([*heard, late], key=lambda one: one.received))
    found = Evaluation(new_system(), bag, tmp_path)
    found.agree()
    assert "lab_" in found.played["arm"]
    assert found.played["missed"] == {}
    assert f"1 x {late.topic}" in found.said["playing"]
    for name in ("hearing", "reading"):
        assert "no robot description came" not in found.said[name]


def test_a_bag_that_is_not_there_is_named(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    system = new_system()
    process = RosProcess(
        node_command("replay_evaluator", parameters={**PARAMETERS, "bag": str(tmp_path / "none")}), system.domain, tmp_path / "r.log"
    )
    try:
        system.observer.until(lambda: "no such bag" in process.output(), lambda: process.output(), within=40.0)
        assert process.running()
    finally:
        process.end()
