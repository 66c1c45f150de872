"""Protects that a bag which is played gives the numbers of the same bag read from its file, and that what does not arrive is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from arm_recording import moving_arm
from arm_system import ArmSystem
from recordings import write_bag
from ros_process import RosProcess, node_command

PARAMETERS: dict[str, object] = {"description_timeout": 0.1, "plans": 0, "stride": 0.4}


def numbers(folder: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((folder / "replay.json").read_text())


def test_played_and_read_give_the_same_numbers(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    system = new_system()
    bag = write_bag(tmp_path / "heard.mcap", moving_arm(3.0))
    played, read = tmp_path / "played", tmp_path / "read"
    hearing = RosProcess(
        node_command("replay_evaluator", parameters={**PARAMETERS, "out": str(played), "quiet": 2.0}), system.domain, tmp_path / "h.log"
    )
    command = [*node_command("play_bag")[:1], str(bag), "--wait"]
    playing = RosProcess(command, system.domain, tmp_path / "p.log")
    reading = RosProcess(
        node_command("replay_evaluator", node="reader", parameters={**PARAMETERS, "out": str(read), "bag": str(bag)}),
        system.domain,
        tmp_path / "r.log",
    )
    said = lambda: f"{hearing.output()}\n{playing.output()}\n{reading.output()}"  # noqa: E731
    try:
        system.observer.until(lambda: (played / "replay.md").is_file() and (read / "replay.md").is_file(), said, within=90.0)
        assert playing.wait() == 0, playing.output()
    finally:
        for process in (hearing, reading, playing):
            process.end()
    one, other = numbers(played), numbers(read)
    assert one["frames"] == other["frames"] == 30
    for key in ("model", "copy", "covered"):
        assert np.allclose(one["prediction"][key], other["prediction"][key], rtol=1e-6, atol=1e-9), key
    assert one["prediction"]["starts"] == other["prediction"]["starts"]
    assert one["missed"] == other["missed"] == {}


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
