"""Protects that augmentation is one draw per episode: what stood still still stands still, what had one colour still has one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wm_core.data.augment import Augmentation, AugmentConfig, draw

STRONG = AugmentConfig(brightness=0.4, contrast=0.4, saturation=0.5, hue=0.5, crop=0.3)


def still(seed: int) -> np.ndarray:
    """Five times the same picture."""
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 24, 32), dtype=np.uint8).repeat(5, axis=0)


@given(st.integers(0, 10_000))
def test_all_frames_of_a_clip_are_changed_alike(seed: int) -> None:
    changed = draw(STRONG, np.random.default_rng(seed)).apply(still(seed))
    assert changed.shape == (5, 3, 24, 32)
    assert changed.dtype == np.uint8
    assert np.all(changed == changed[:1])


@given(st.integers(0, 10_000))
def test_a_frame_is_changed_in_the_same_way_whichever_others_are_read_with_it(seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (6, 3, 24, 32), dtype=np.uint8)
    change = draw(STRONG, np.random.default_rng(seed))
    assert np.array_equal(change.apply(frames)[2:4], change.apply(frames[2:4]))


def test_different_clips_are_changed_differently() -> None:
    frames = still(0)
    assert len({draw(STRONG, np.random.default_rng(seed)).apply(frames).tobytes() for seed in range(20)}) == 20


def test_nothing_asked_is_nothing_done() -> None:
    frames = still(1)
    assert np.array_equal(draw(AugmentConfig(1, 0.0, 0.0, 0.0, 0.0, 0.0), np.random.default_rng(0)).apply(frames), frames)


def test_grey_stays_grey_when_hue_and_saturation_change() -> None:
    frames = np.full((2, 3, 8, 8), 120, dtype=np.uint8)
    changed = Augmentation(saturation=1.5, hue=0.8).apply(frames)
    assert np.all(np.abs(changed.astype(int) - 120) <= 1)


def test_brightness_and_contrast_do_what_their_names_say() -> None:
    frames = np.zeros((1, 3, 2, 2), dtype=np.uint8)
    frames[..., 0], frames[..., 1] = 60, 100
    assert np.array_equal(np.unique(Augmentation(brightness=1.5).apply(frames)), [90, 150])
    assert np.array_equal(np.unique(Augmentation(contrast=0.5).apply(frames)), [94, 114])


def test_a_crop_shows_the_window_it_names() -> None:
    columns = np.linspace(0, 255, 64).astype(np.uint8)
    frames = np.broadcast_to(columns, (1, 3, 64, 64)).copy()
    right = Augmentation(left=0.5, kept=0.5).apply(frames)[0, 0, 32]
    assert abs(int(right[0]) - 128) < 6
    assert right[-1] > 245
