"""Protects the recorder from a disk that takes nothing more and from pictures that nobody can read: both are answers, never a crash."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from recordings import SIZE, contract, image, joint_state, messages

from wm_core.data import journal
from wm_core.data.bag import Bag
from wm_core.data.footage import size_of
from wm_core.data.lerobot_writer import Layout
from wm_core.data.message_types import encoded
from wm_core.data.recorder import Code, Recorder, Wish
from wm_core.data.recording_layout import layout_of

FULL = Path("/dev/full")  # every write to it says that the device has no room


def layout() -> Layout:
    return layout_of(contract(), {"front": SIZE})


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
def test_a_disk_that_takes_nothing_ends_the_episode_and_keeps_what_was_captured(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    recorder.start(Wish(), [], layout)
    heard = messages(1.0)
    for one in heard:
        recorder.write(one.topic, one.kind, one.received, one.stamp, one.data, one.kind.endswith("Image"))
    assert recorder._writer is not None
    with FULL.open("wb", buffering=0) as full:
        # From here on the file of the episode is on a device without room.
        os.dup2(full.fileno(), recorder._writer._file.fileno())
    said = recorder.write(heard[0].topic, heard[0].kind, 0.0, 0.0, heard[0].data, frame=False)
    assert "the disk takes no more" in said
    assert "Free some room and start the recorder again" in said
    assert not recorder.recording
    assert recorder.stop(Wish()).code == Code.NOT_RECORDING
    recorder.close()
    again = Recorder(tmp_path / "set", contract())
    (saved,) = again.salvaged
    assert saved.state == journal.FINISHED
    assert [one.data for one in Bag(saved.capture).messages()] == [one.data for one in heard]
    again.close()


def test_a_camera_whose_pictures_cannot_be_read_refuses_the_episode(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    unknown = encoded(replace(image(1000.0), encoding="yuv422"), "sensor_msgs/msg/Image")
    answer = recorder.start(Wish(), [], lambda: layout_of(contract(), {"front": size_of("sensor_msgs/msg/Image", unknown)}))
    assert answer.code == Code.INVALID
    assert "yuv422" in answer.text
    assert not journal.folders(recorder.root)
    recorder.close()


def test_a_topic_whose_type_changes_is_kept_with_both_and_read_with_each(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    recorder.start(Wish(), [], layout)
    sent = [("sensor_msgs/msg/Image", image(1000.0)), ("sensor_msgs/msg/JointState", joint_state(1001.0))]
    for kind, message in sent:
        recorder.write("/camera/front/image_raw", kind, 1000.0, 1000.0, encoded(message, kind), frame=False)
    recorder.stop(Wish())
    (kept,) = journal.journals(recorder.root)
    assert [(one.kind, one.data) for one in Bag(kept.capture).messages()] == [(kind, encoded(message, kind)) for kind, message in sent]
    recorder.close()


def kept(recorder: Recorder) -> None:
    """An episode of one second."""
    assert recorder.start(Wish(), [], layout).code == Code.SUCCESS
    for one in messages(1.0):
        recorder.write(one.topic, one.kind, one.received, one.stamp, one.data, one.kind.endswith("Image"))
    assert recorder.stop(Wish()).code == Code.SUCCESS


def read_only(*given: object, **named: object) -> NoReturn:
    """What the system says of a disk that was turned read-only."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_disk_that_was_turned_read_only_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    kept(recorder)
    recorder.start(Wish(), [], layout)
    with monkeypatch.context() as broken:
        broken.setattr(journal.shutil, "rmtree", read_only)
        broken.setattr(journal.os, "replace", read_only)
        label, discard, start = recorder.label(0, Wish(success="failure")), recorder.discard(), recorder.start(Wish(), [], layout)
    for answer in (label, discard, start):
        assert answer.code == Code.DISK
        assert "Read-only file system" in answer.text
    assert str(recorder.root / "000001") in discard.text, "it says what to remove"
    assert not recorder.recording
    assert recorder.label(0, Wish(success="failure")).code == Code.SUCCESS
    kept(recorder)
    recorder.close()


def test_a_disk_that_tells_nothing_ends_the_episode_and_not_the_recorder(tmp_path: Path) -> None:
    asked = iter([lambda: 1e12, read_only, lambda: 1e12])
    recorder = Recorder(tmp_path / "set", contract(), free=lambda path: next(asked)())
    recorder.start(Wish(), [], layout)
    assert "Read-only file system" in recorder.watch([])
    kept(recorder)
    recorder.close()


def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    with monkeypatch.context() as broken:
        broken.setattr(journal.os, "replace", read_only)
        assert recorder.start(Wish(), [], layout).code == Code.DISK
    assert not journal.folders(recorder.root)
    recorder.close()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"name": "a", "state": "finished", "labels": {}, "faults": [], "contract": {"config": {"fps": -1}}}']
)
def test_a_journal_that_cannot_be_read_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    kept(recorder)
    kept(recorder)
    recorder.close()
    damaged = recorder.root / "000000" / journal.STATE
    damaged.write_text(text, encoding="utf-8")
    again = Recorder(tmp_path / "set", contract())
    (said,) = again.unreadable
    assert str(damaged.parent) in str(said)
    assert "from-bag" in str(said)
    assert damaged.read_text(encoding="utf-8") == text
    assert len(journal.States(again.root).folders()[journal.FINISHED]) == 1, "no exporter is started for it again and again"
    assert again.label(1, Wish(success="failure")).code == Code.SUCCESS
    assert again.label(0, Wish(success="failure")).code == Code.NO_EPISODE
    assert again.start(Wish(), [], layout).episode == 2
    again.close()
