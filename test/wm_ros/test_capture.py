"""Protects the recorder's ears: every type that a contract may name can be listened to."""

from __future__ import annotations

from wm_core.data.recording_config import TYPES
from wm_ros.capture import CLASSES


def test_every_type_of_a_contract_can_be_listened_to() -> None:
    assert {one for kinds in TYPES.values() for one in kinds} == set(CLASSES)
