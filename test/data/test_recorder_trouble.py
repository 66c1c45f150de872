"""Protects the recorder from a disk that takes nothing more and from pictures that nobody can read: both are answers, never a crash."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

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
