"""Protects cached tokens: close to what the encoder gave, never another encoder's, whole whatever happens while they are written."""

from __future__ import annotations

import errno
import multiprocessing
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from noise_datasets import FPS, Made

from wm_core.data import quantised
from wm_core.data.augment import AugmentConfig
from wm_core.data.augmented_reader import AugmentedReader
from wm_core.data.clip import ClipRequest, Preprocessing
from wm_core.data.errors import CacheError, EpisodeError
from wm_core.data.mixture import Mixture, MixtureConfig, Source
from wm_core.data.reader import DatasetReader
from wm_core.data.token_cache import CachedReader, Plan, TokenCache, folder_for

SIZE = Preprocessing(24, 24)


@dataclass(frozen=True)
class Means:
    """Mean colours over a 2x3 grid, and their negatives on another scale."""

    name: str = "means"
    hash: str = "0123"
    grid: tuple[int, int] = (2, 3)
    dim: int = 6

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.adaptive_avg_pool2d(frames.float(), self.grid).flatten(2).transpose(1, 2)
        return torch.cat([cells, -0.001 * cells], dim=2)


@pytest.fixture
def reader(plain: Made) -> DatasetReader:
    return DatasetReader(plain.root, plain.config, SIZE)


def quiet(plan: Plan) -> None:
    pass


@settings(max_examples=50)
@given(
    hn.arrays(np.float32, hn.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from([8, 16]),
)
def test_every_channel_is_kept_within_half_a_level(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, bits: int) -> None:
    path = tmp_path_factory.mktemp("tokens") / "a.tokens"
    quantised.write(path, values, bits)
    spread = values.max(axis=(0, 1)) - values.min(axis=(0, 1))
    rounding = 1e-6 * np.abs(values).max() + 2**bits * np.finfo(np.float32).tiny  # a finer step is none: processors may take it for zero
    read = quantised.read(path, np.arange(len(values)))
    assert np.all(np.abs(read - values) <= 0.5 * spread / (2**bits - 1) * 1.001 + rounding)
    assert path.stat().st_size == quantised.file_size(*values.shape, bits)


def test_clips_of_a_cache_hold_the_tokens_of_their_frames(reader: DatasetReader, tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache", Means(), SIZE, bits=16)
    assert cache.fill([reader], quiet) == []
    cached = CachedReader(reader, cache)
    request = ClipRequest(seconds=0.6, fps=FPS)
    config = MixtureConfig(unlabelled_per_labelled=1e6)
    pictures, tokens = (Mixture([Source(one, False), Source(one, True)], request, config) for one in (reader, cached))
    for k in range(6):
        wanted = Means().encode(torch.from_numpy(pictures.draw(k).clip.frames)).numpy()
        assert np.allclose(tokens.draw(k).clip.frames, wanted, atol=0.01, rtol=1e-3)


def test_a_role_that_another_camera_takes_over_has_that_cameras_tokens(made: Made, tmp_path: Path) -> None:
    before, after = (
        DatasetReader(made.root, replace(made.config, cameras={"front": f"observation.images.{camera}"}), SIZE)
        for camera in ("left", "wrist")
    )
    cache = TokenCache(tmp_path / "cache", Means(), SIZE, bits=16)
    cache.fill([before], quiet)
    assert cache.plan([after]).episodes == len(made.episodes)
    cache.fill([after], quiet)
    for reader in (before, after):
        wanted = Means().encode(torch.from_numpy(reader.frames(0, np.arange(5), "front"))).numpy()
        assert np.allclose(cache.tokens(reader, 0, np.arange(5), "front"), wanted, atol=0.01, rtol=1e-3)


def test_the_cost_is_told_before_and_is_what_is_written(reader: DatasetReader, tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache", Means(), SIZE)
    told: list[tuple[Plan, int]] = []
    files = lambda: list((tmp_path / "cache").glob("**/*.tokens"))  # noqa: E731
    cache.fill([reader], lambda plan: told.append((plan, len(files()))))
    ((plan, already),) = told
    assert already == 0
    assert plan.bytes == sum(path.stat().st_size for path in files())
    assert (plan.episodes, plan.frames) == (3, 60)
    assert cache.plan([reader]).bytes == 0


@pytest.mark.parametrize(
    ("encoder", "preprocessing", "bits", "named"),
    [
        (Means(hash="4567"), SIZE, 8, "hash 0123; allowed: hash 4567"),
        (Means(name="others"), SIZE, 8, "encoder means"),
        (Means(), Preprocessing(32, 32), 8, "preprocessing 24x24 squash"),
        (Means(), SIZE, 16, "bits 8"),
    ],
)
def test_a_cache_made_otherwise_is_refused(tmp_path: Path, encoder: Means, preprocessing: Preprocessing, bits: int, named: str) -> None:
    TokenCache(tmp_path / "cache", Means(), SIZE, 8)
    with pytest.raises(CacheError, match=named):
        TokenCache(tmp_path / "cache", encoder, preprocessing, bits)
    assert folder_for(tmp_path, encoder, preprocessing, bits) != folder_for(tmp_path, Means(), SIZE, 8)


def test_changed_pictures_have_a_cache_of_their_own(tmp_path: Path) -> None:
    TokenCache(tmp_path / "cache", Means(), SIZE)
    with pytest.raises(CacheError, match="augmentation None; allowed: augmentation copy 1"):
        TokenCache(tmp_path / "cache", Means(), SIZE, augmentation="copy 1")
    TokenCache(tmp_path / "other", Means(), SIZE, augmentation="copy 1")
    with pytest.raises(CacheError, match="augmentation copy 1; allowed: augmentation None"):
        TokenCache(tmp_path / "other", Means(), SIZE)
    folders = {folder_for(tmp_path, Means(), SIZE, augmentation=one) for one in ("", "copy 1", "copy 2")}
    assert len(folders) == 3


def test_an_augmented_reader_changes_all_frames_of_an_episode_alike_and_each_copy_otherwise(reader: DatasetReader) -> None:
    strong = AugmentConfig(3, brightness=0.3, saturation=0.5, hue=0.3, crop=0.2)
    rows = np.arange(20)
    shown = {copy: AugmentedReader(reader, strong, copy) for copy in (1, 2)}
    seen = {copy: one.frames(0, rows, "left") for copy, one in shown.items()}
    assert np.array_equal(shown[1].frames(0, rows[5:9], "left"), seen[1][5:9])
    assert np.array_equal(AugmentedReader(reader, replace(strong, copies=1), 1).frames(0, rows, "left"), seen[1])
    assert not np.array_equal(seen[1], seen[2])
    assert not np.array_equal(seen[1], reader.frames(0, rows, "left"))
    assert not np.array_equal(AugmentedReader(reader, replace(strong, seed=1), 1).frames(0, rows, "left"), seen[1])


def test_a_reader_that_prepares_pictures_otherwise_is_refused(plain: Made, tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache", Means(), SIZE)
    with pytest.raises(CacheError, match="prepares pictures otherwise"):
        cache.fill([DatasetReader(plain.root, plain.config)], quiet)


def test_what_the_cache_lacks_costs_its_episode(reader: DatasetReader, tmp_path: Path) -> None:
    cached = CachedReader(reader, TokenCache(tmp_path / "cache", Means(), SIZE))
    with pytest.raises(EpisodeError, match="lacks an episode"):
        cached.frames(0, np.arange(2), "left")


def test_a_damaged_file_is_refused(reader: DatasetReader, tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache", Means(), SIZE)
    cache.fill([reader], quiet)
    path = sorted((tmp_path / "cache").glob("**/*.tokens"))[0]
    for damaged in (path.read_bytes()[:-3], path.read_bytes()[:10], b"X" + path.read_bytes()[1:]):
        path.write_bytes(damaged)
        with pytest.raises(CacheError, match=r"damaged|cannot be read"):
            cache.tokens(reader, 0, np.arange(2), "left")


def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(
    reader: DatasetReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TokenCache(tmp_path / "cache", Means(), SIZE)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match="No space left"):
        cache.fill([reader], quiet)
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["cache.json"]


def test_what_will_not_fit_is_refused_before_it_starts(reader: DatasetReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = TokenCache(tmp_path / "cache", Means(), SIZE)
    plan = cache.plan([reader])
    monkeypatch.setattr(cache, "plan", lambda readers: replace(plan, free=plan.bytes - 1))
    with pytest.raises(CacheError, match="do not fit"):
        cache.fill([reader], quiet)
    assert not list((tmp_path / "cache").glob("**/*.tokens"))


def test_an_encoder_that_gives_what_is_no_number_is_refused(reader: DatasetReader, tmp_path: Path) -> None:
    class Broken(Means):
        def encode(self, frames: torch.Tensor) -> torch.Tensor:
            return super().encode(frames) * float("nan")

    with pytest.raises(CacheError, match="not a number"):
        TokenCache(tmp_path / "cache", Broken(), SIZE).fill([reader], quiet)


def _fill(folder: Path, made: Made) -> None:
    TokenCache(folder, Means(), SIZE).fill([DatasetReader(made.root, made.config, SIZE)], quiet, batch=7)


def test_several_writers_leave_one_whole_cache(plain: Made, reader: DatasetReader, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    writers = [multiprocessing.get_context("spawn").Process(target=_fill, args=(folder, plain)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    cache = TokenCache(folder, Means(), SIZE)
    assert cache.plan([reader]).episodes == 0
    for episode in range(3):
        wanted = Means().encode(torch.from_numpy(reader.frames(episode, np.arange(20), "left"))).numpy()
        assert np.allclose(cache.tokens(reader, episode, np.arange(20), "left"), wanted, atol=0.6)
    assert not [path for path in folder.rglob(".*")], "something half written was left behind"


class Watched(DatasetReader):
    """A reader that remembers which episodes it was asked for."""

    def __init__(self, reader: DatasetReader) -> None:
        super().__init__(reader.root, reader.config, reader.preprocessing)
        self.seen: list[int] = []

    def frames(self, episode: int, rows: np.ndarray, role: str) -> np.ndarray:
        self.seen.append(episode)
        return super().frames(episode, rows, role)


def test_what_another_process_made_meanwhile_is_not_made_again(reader: DatasetReader, tmp_path: Path) -> None:
    watched = Watched(reader)

    class Slow(Means):
        def encode(self, frames: torch.Tensor) -> torch.Tensor:
            TokenCache(tmp_path / "cache", Means(), SIZE).fill([reader], quiet)  # the other one fills it while this one encodes
            return super().encode(frames)

    assert TokenCache(tmp_path / "cache", Slow(), SIZE).fill([watched], quiet) == []
    assert watched.seen == [0]


def test_processes_begin_at_different_places_and_each_sees_to_all(reader: DatasetReader, tmp_path: Path) -> None:
    orders = []
    for rank in range(3):
        watched, cache = Watched(reader), TokenCache(tmp_path / str(rank), Means(), SIZE)
        cache.fill([watched], quiet, rank=rank, world=3)
        orders.append(watched.seen)
        assert cache.plan([reader]).episodes == 0
    assert orders == [[0, 2, 1], [1, 0, 2], [2, 1, 0]], "its own, then the others' from their ends"
