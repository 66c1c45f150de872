"""Protects what training sees: exact proportions, exact resume, the same clips for any number of workers, nothing of what is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from noise_datasets import FPS, Made

from wm_core.data.clip import ClipRequest, Preprocessing
from wm_core.data.errors import DatasetError
from wm_core.data.loader import Batch, ClipStream
from wm_core.data.mixture import CYCLE, Mixture, MixtureConfig, Source, order, shares
from wm_core.data.reader import DatasetReader
from wm_core.data.split import draw, held_out
from wm_core.errors import ConfigurationError

REQUEST = ClipRequest(seconds=0.6, fps=FPS)
SIZE = Preprocessing(24, 24)


@pytest.fixture(scope="module")
def sources(made: Made, plain: Made) -> list[Source]:
    labelled, unlabelled = (DatasetReader(one.root, one.config, SIZE) for one in (made, plain))
    return [Source(labelled, True), Source(unlabelled, False)]


def equal(first: Batch, second: Batch) -> bool:
    return all(torch.equal(value, vars(second)[name]) if isinstance(value, torch.Tensor) else True for name, value in vars(first).items())


def test_nineteen_to_one_by_default_over_any_two_thousand_clips(sources: list[Source]) -> None:
    mixture = Mixture(sources, REQUEST, MixtureConfig())
    labelled = np.array([sources[mixture.source_of(k)].labelled for k in range(6000)])
    windows = np.convolve(labelled, np.ones(2000), mode="valid")
    assert np.all(np.abs(windows / 2000 - 0.05) <= 0.01 * 0.05)


@given(
    st.lists(st.floats(0.01, 10.0), min_size=1, max_size=4), st.lists(st.floats(0.01, 10.0), min_size=1, max_size=4), st.floats(0.05, 50.0)
)
def test_every_source_has_its_share_over_any_window(labelled: list[float], unlabelled: list[float], ratio: float) -> None:
    sources = [Source(None, True, weight) for weight in labelled] + [Source(None, False, weight) for weight in unlabelled]  # type: ignore[arg-type]
    wanted = shares(sources, ratio)
    assert np.isclose(wanted[: len(labelled)].sum() * ratio, wanted[len(labelled) :].sum())
    which = order(wanted)
    for source, share in enumerate(wanted):
        mine = np.cumsum(np.tile(which == source, 2))
        for window in (100, 500, CYCLE):
            counts = mine[window:] - mine[:-window]
            assert np.all(np.abs(counts - share * window) <= 0.01 * window + 2)
            if window == CYCLE:
                assert np.all(np.abs(counts - share * window) <= 1.0)


def test_a_kind_that_is_asked_for_and_missing_is_refused(sources: list[Source]) -> None:
    with pytest.raises(ConfigurationError, match="no unlabelled source"):
        Mixture(sources[:1], REQUEST, MixtureConfig())
    with pytest.raises(ConfigurationError, match="no labelled source"):
        Mixture(sources[1:], REQUEST, MixtureConfig())


def test_unlabelled_sources_have_no_actions_even_where_the_data_has_some(sources: list[Source]) -> None:
    hidden = [sources[0], Source(sources[0].reader, False)]
    mixture = Mixture(hidden, REQUEST, MixtureConfig(unlabelled_per_labelled=1.0))
    for k in range(20):
        drawn = mixture.draw(k)
        assert drawn.clip.action_mask.all() if drawn.labelled else not drawn.clip.action_mask.any()
        assert drawn.clip.actions.any() == drawn.labelled


def test_resuming_goes_on_with_exactly_the_next_clip(sources: list[Source]) -> None:
    def stream(workers: int = 0) -> ClipStream:
        return ClipStream(Mixture(sources, REQUEST, MixtureConfig(unlabelled_per_labelled=2.0)), 3, workers)

    whole = list(islice(stream(), 10))
    first = stream(workers=2)
    begun = list(islice(first, 4))
    state = first.state_dict()
    rest = stream(workers=1)
    rest.load_state_dict(state)
    resumed = begun + list(islice(rest, 6))
    assert state["next_batch"] == 4, "what the workers have read ahead does not count"
    assert all(equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert not equal(whole[0], whole[1])


def test_processes_share_the_clips_of_one(sources: list[Source]) -> None:
    mixture = Mixture(sources, REQUEST, MixtureConfig(unlabelled_per_labelled=2.0))
    alone = list(islice(ClipStream(mixture, batch=2), 6))
    pair = [list(islice(ClipStream(mixture, batch=2, rank=rank, world=2), 3)) for rank in range(2)]
    together = [batch for step in zip(*pair, strict=True) for batch in step]
    assert all(equal(a, b) for a, b in zip(alone, together, strict=True))


def test_other_processes_go_on_after_all_clips_that_were_handed_out(sources: list[Source]) -> None:
    mixture = Mixture(sources, REQUEST, MixtureConfig(unlabelled_per_labelled=2.0))
    whole = list(islice(ClipStream(mixture, batch=2), 6))
    alone, pair = ClipStream(mixture, batch=2), [ClipStream(mixture, batch=2, rank=rank, world=2) for rank in range(2)]
    assert list(islice(alone, 1))
    with pytest.raises(DatasetError, match="shared out"):
        pair[0].load_state_dict(alone.state_dict())
    alone.load_state_dict(alone.state_dict() | {"next_batch": 2})
    for one in pair:
        one.load_state_dict(alone.state_dict())
    assert all(equal(next(iter(one)), whole[2 + rank]) for rank, one in enumerate(pair))
    alone.load_state_dict(pair[0].state_dict())
    assert equal(next(iter(alone)), whole[4])


def test_a_state_of_another_stream_is_refused(sources: list[Source]) -> None:
    mixture = Mixture(sources, REQUEST, MixtureConfig())
    state = ClipStream(mixture, batch=2).state_dict()
    with pytest.raises(DatasetError, match="made otherwise"):
        ClipStream(mixture, batch=4).load_state_dict(state)


def test_training_and_evaluation_share_no_episode(sources: list[Source]) -> None:
    config = MixtureConfig(unlabelled_per_labelled=0.0, held_out=0.3)
    training, evaluation = (Mixture(sources[:1], REQUEST, config, evaluation=held) for held in (False, True))
    train = {training.draw(k).clip.episode for k in range(120)}
    test = {evaluation.draw(k).clip.episode for k in range(60)}
    assert train
    assert test
    assert not train & test
    assert train | test == set(range(10))


def test_a_dataset_that_is_listed_again_without_labels_keeps_back_the_same_episodes(
    sources: list[Source], made: Made, tmp_path: Path
) -> None:
    """Under another name and by another path, too: its pictures are those that the model is judged by."""
    (tmp_path / "again").symlink_to(made.root)
    again = Source(DatasetReader(tmp_path / "again", replace(made.config, name="again", action=None), SIZE), False)
    config = MixtureConfig(unlabelled_per_labelled=1.0, held_out=0.3)
    training, evaluation = (Mixture([sources[0], again], REQUEST, config, evaluation=held) for held in (False, True))
    kept = set(np.flatnonzero(held_out("noise", 10, 0.3, 0)).tolist())
    for labelled in (True, False):
        seen, judged = (
            {drawn.clip.episode for k in range(48) if (drawn := mixture.draw(k)).labelled == labelled} for mixture in (training, evaluation)
        )
        assert judged == kept
        assert len(seen) > 1
        assert not seen & kept


@given(st.integers(1, 300), st.integers(0, 100), st.floats(0.05, 0.5), st.integers(0, 5))
def test_no_episode_is_held_out_after_it_was_trained_on(episodes: int, more: int, share: float, seed: int) -> None:
    """One alone may go over to training: the one that is held out because no episode's draw is below the share."""
    before, after = held_out("set", episodes, share, seed), held_out("set", episodes + more, share, seed)
    draws = np.array([draw("set", episode, seed) for episode in range(episodes + more)])
    smallest = int(draws[:episodes].argmin())
    assert before.any()
    assert np.array_equal(np.flatnonzero(before), np.union1d(np.flatnonzero(draws[:episodes] < share), [smallest]))
    released = draws[smallest] >= share and (draws[episodes:] < draws[smallest]).any()
    assert np.flatnonzero(before & ~after[:episodes]).tolist() == ([smallest] if released else [])
    assert not (after[:episodes] & ~before).any()


def test_about_the_asked_share_is_held_out() -> None:
    assert abs(held_out("set", 20000, 0.1, 0).mean() - 0.1) < 0.01


def test_every_place_is_equally_likely(sources: list[Source]) -> None:
    """Chi-square over episodes: 99.9 % of right draws are below 27.9 at 9 degrees of freedom."""
    mixture = Mixture(sources[:1], REQUEST, MixtureConfig(unlabelled_per_labelled=0.0, held_out=0.0, seed=3))
    pool = mixture._pools[0]
    drawn = Counter(pool.draw(np.random.default_rng([1, k]), np.random.default_rng([2, k]))[0] for k in range(4000))
    counts = sources[0].reader.start_count(REQUEST)
    expected = counts / counts.sum() * 4000
    assert sum((drawn[episode] - expected[episode]) ** 2 / expected[episode] for episode in range(10)) < 27.9


def test_like_contexts_come_together(sources: list[Source], made: Made) -> None:
    """The state column stands in for a scene here: its first number differs between any two episodes."""
    reader = DatasetReader(made.root, replace(made.config, scene=("observation.state",)), SIZE)
    config = MixtureConfig(unlabelled_per_labelled=0.0, held_out=0.0, like_context=5)
    mixture = Mixture([Source(reader, True)], REQUEST, config)
    groups = [[mixture.draw(k).clip for k in range(first, first + 5)] for first in range(0, 100, 5)]
    assert all(len({(clip.viewpoint, clip.scene) for clip in group}) == 1 for group in groups)
    assert all(group[0].scene for group in groups)
    assert len({(group[0].viewpoint, group[0].scene) for group in groups}) > 5
    assert any(len({int(clip.rows[0]) for clip in group}) > 1 for group in groups), "the clips themselves differ"


def test_a_scene_that_cannot_be_read_costs_its_episodes_and_no_training(copied: Callable[[], Made]) -> None:
    """The clips of a context still come together, and are the same whether they are drawn in order or one by one."""
    dataset = copied()
    config = replace(dataset.config, scene=("observation.state",))
    path = DatasetReader(dataset.root, config, SIZE).metadata.data_file_of(0)
    path.write_bytes(path.read_bytes()[:-50])
    reader = DatasetReader(dataset.root, config, SIZE)
    broken = {episode for episode in range(len(reader.metadata)) if reader.metadata.data_file_of(episode) == path}
    assert broken != set(range(len(reader.metadata)))
    mixtures = [
        Mixture([Source(reader, True)], REQUEST, MixtureConfig(unlabelled_per_labelled=0.0, held_out=0.0, like_context=5)) for _ in range(2)
    ]
    drawn = [mixtures[0].draw(k) for k in range(200)]
    assert {skip.episode for one in drawn for skip in one.skipped} == broken
    assert all("cannot be read" in skip.reason for one in drawn for skip in one.skipped)
    assert not {one.clip.episode for one in drawn} & broken
    for first in range(0, 200, 5):
        assert len({(one.clip.viewpoint, one.clip.scene) for one in drawn[first : first + 5]}) == 1
    for k in (199, 17, 100):
        again = mixtures[1].draw(k).clip
        assert (again.episode, again.rows.tolist()) == (drawn[k].clip.episode, drawn[k].clip.rows.tolist())
