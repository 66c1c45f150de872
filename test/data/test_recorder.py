"""Protects the recorder's decisions: what may begin, what a request is answered, and that nothing that was kept is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from recordings import HEARD_BRIEFLY, SIZE, contract

from wm_core.data import journal, relabelling
from wm_core.data.bag import Bag
from wm_core.data.errors import DatasetError
from wm_core.data.lerobot_writer import Layout
from wm_core.data.recorder import Code, Recorder, Wish
from wm_core.data.recording import recorded
from wm_core.data.recording_layout import layout_of


def layout() -> Layout:
    return layout_of(contract(), {"front": SIZE})


def hear(recorder: Recorder) -> None:
    for one in HEARD_BRIEFLY:
        assert not recorder.write(one.topic, one.kind, one.received, one.stamp, one.data, one.kind.endswith("Image"))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "set", contract())
    yield made
    made.close()


def test_an_episode_is_kept_with_what_was_said_of_it(recorder: Recorder) -> None:
    begun = recorder.start(Wish(task="stack"), [], layout)
    assert (begun.code, begun.episode) == (Code.SUCCESS, 0)
    hear(recorder)
    ended = recorder.stop(Wish(success="succeeded"))
    assert (ended.code, ended.episode) == (Code.SUCCESS, 0)
    assert "10 frames" in ended.text
    (kept,) = journal.journals(recorder.root)
    assert (kept.state, kept.labels.task, kept.labels.success, kept.labels.robot) == (journal.FINISHED, "stack", "succeeded", "wm_arm")
    assert len(recorded(Bag(kept.capture), kept.contract, "stack").episode) >= 9


def test_requests_that_make_no_sense_are_answered_with_their_code(recorder: Recorder) -> None:
    assert recorder.stop(Wish()).code == Code.NOT_RECORDING
    assert recorder.discard().code == Code.NOT_RECORDING
    missing = recorder.start(Wish(), ["/camera/front/image_raw is silent"], layout)
    assert missing.code == Code.STREAM_MISSING
    assert "/camera/front/image_raw is silent" in missing.text
    assert recorder.label(0, Wish(success="failure")).code == Code.NO_EPISODE
    assert "none is kept yet" in recorder.label(-1, Wish(success="failure")).text
    recorder.start(Wish(), [], layout)
    assert recorder.start(Wish(), [], layout).code == Code.ALREADY_RECORDING


def test_what_is_discarded_leaves_nothing_and_its_number_is_given_again(recorder: Recorder) -> None:
    recorder.start(Wish(), [], layout)
    hear(recorder)
    assert recorder.discard().code == Code.SUCCESS
    assert not journal.folders(recorder.root)
    assert recorder.start(Wish(), [], layout).episode == 0


def test_a_label_reaches_an_episode_that_waits(recorder: Recorder) -> None:
    for _ in range(2):
        recorder.start(Wish(), [], layout)
        recorder.stop(Wish())
    assert recorder.label(-1, Wish(success="failure")).episode == 1
    assert recorder.label(0, Wish(success="succeeded")).code == Code.SUCCESS
    assert recorder.label(0, Wish(workspace="bench")).code == Code.SUCCESS
    assert recorder.label(0, Wish(task="unknown")).text == "episode 0 is labelled: task unknown", "a task may be called so"
    relabelling.settle(recorder.dataset, print)
    first, second = journal.journals(recorder.root)
    assert (first.labels.success, first.labels.workspace, second.labels.success) == ("succeeded", "bench", "failure")
    missing = recorder.label(2, Wish(success="failure"))
    assert missing.code == Code.NO_EPISODE
    assert "allowed: 0 .. 1" in missing.text


def test_the_last_episode_is_the_last_that_was_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    recorder.start(Wish(), [], layout)
    assert recorder.label(-1, Wish(success="failure")).code == Code.NO_EPISODE, "it is not ended"
    recorder.stop(Wish())
    recorder.start(Wish(), [], layout)
    assert recorder.label(-1, Wish(success="failure")).code == Code.NO_EPISODE
    assert recorder.label(0, Wish(success="failure")).code == Code.SUCCESS
    recorder.discard()
    assert recorder.label(-1, Wish(success="failure")).episode == 0
    recorder.close()
    again = Recorder(recorder.dataset, contract())
    assert again.label(-1, Wish(success="failure")).episode == 0
    again.close()


def test_two_recorders_on_one_dataset_are_refused(recorder: Recorder) -> None:
    with pytest.raises(DatasetError, match=r"another recorder works on set; got: process \d+"):
        Recorder(recorder.dataset, contract())


def test_a_disk_that_is_full_refuses_and_one_that_fills_ends_the_episode(tmp_path: Path) -> None:
    room = [1e12]
    recorder = Recorder(tmp_path / "set", contract(), free=lambda path: room[0])
    recorder.start(Wish(), [], layout)
    hear(recorder)
    room[0] = 1e6
    assert "too little room" in recorder.watch([])
    assert not recorder.recording
    (kept,) = journal.journals(recorder.root)
    assert kept.state == journal.FINISHED
    assert "too little room" in " ".join(kept.faults)
    refused = recorder.start(Wish(), [], layout)
    assert refused.code == Code.DISK
    assert "got: 1 MB; allowed: at least 500 MB" in refused.text
    recorder.close()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="nothing can be written in"):
        Recorder(tmp_path / "file" / "set", contract())


def test_what_fails_on_the_way_is_told_once(recorder: Recorder) -> None:
    recorder.start(Wish(), [], layout)
    hear(recorder)
    for age in (0.3, 0.5, 0.7):
        recorder.watch([f"/joint_states has been silent for {age} s"])
    ended = recorder.stop(Wish())
    assert ended.text.count("/joint_states") == 1
    assert journal.journals(recorder.root)[0].faults == ("/joint_states has been silent for 0.3 s",)


def test_what_a_killed_recorder_left_is_salvaged_up_to_its_last_message(tmp_path: Path) -> None:
    killed = Recorder(tmp_path / "set", contract())
    killed.start(Wish(), [], layout)
    hear(killed)
    killed._lock.release()  # as the system does when the process is gone
    recorder = Recorder(tmp_path / "set", contract())
    (saved,) = recorder.salvaged
    assert saved.state == journal.FINISHED
    heard = list(Bag(saved.capture).messages())
    assert [one.data for one in heard] == [one.data for one in HEARD_BRIEFLY], "every message that was written is there"
    assert recorder.start(Wish(), [], layout).episode == 1
    recorder.close()


def test_a_recorder_that_is_ended_keeps_its_episode(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    recorder.start(Wish(), [], layout)
    hear(recorder)
    recorder.close()
    (kept,) = journal.journals(recorder.root)
    assert kept.state == journal.FINISHED
    assert "before STOP" in kept.faults[0]
