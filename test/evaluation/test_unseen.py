"""Protects the split: no episode that a checkpoint was trained on is evaluated as one that it never saw, as far as the checkpoint tells."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_evaluation import Small

from wm_core import configuration
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate import evaluate
from wm_core.evaluation.evaluate_config import EvaluationData, SetConfig
from wm_core.evaluation.unseen import require_unseen
from wm_core.training import trained_on
from wm_core.world_model import checkpoint as checkpoints
from wm_core.world_model.checkpoint import Checkpoint

SHARE, SEED = 0.3, 5


@pytest.fixture(scope="module")
def plain(small: Small) -> Checkpoint:
    return checkpoints.load(small.checkpoint("unseen"))


@pytest.fixture(scope="module")
def reader(small: Small) -> DatasetReader:
    return DatasetReader(small.root / "held_out", configuration.read(DatasetConfig, small.root / "square.yaml"))


def told(plain: Checkpoint, reader: DatasetReader, share: float = SHARE) -> Checkpoint:
    """A checkpoint that was trained on all but this share of the set."""
    seen = trained_on.record([trained_on.of(reader, share, SEED)])
    return dataclasses.replace(plain, records={trained_on.RECORD: seen})


def require(loaded: Checkpoint, small: Small, kind: str = "labelled", **one: Any) -> None:
    asked = SetConfig(**{"root": "held_out", "description": "square.yaml", "held_out": SHARE, "seed": SEED, **one})
    sets = {"labelled": SetConfig("shifted/light", "square.yaml"), kind: asked}
    require_unseen(loaded, EvaluationData(encoder="encoder", cache="tokens", **sets), small.root)


def test_the_episodes_that_training_kept_back_may_be_evaluated_and_so_may_another_set(
    plain: Checkpoint, reader: DatasetReader, small: Small
) -> None:
    require(told(plain, reader), small)
    require(told(plain, reader), small, root="shifted/light", held_out=0.0)
    require(plain, small, held_out=0.0)  # it tells nothing


@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
@pytest.mark.parametrize(("wrong", "allowed"), [({"held_out": 0.0}, "held_out: 0.3"), ({"seed": 6}, "seed: 5")])
def test_another_split_than_the_trainings_is_refused(
    plain: Checkpoint, reader: DatasetReader, small: Small, kind: str, wrong: dict[str, Any], allowed: str
) -> None:
    with pytest.raises(EvaluationError, match=f"allowed: {allowed}; mend: set data.{kind}.held_out"):
        require(told(plain, reader), small, kind, **wrong)


def test_another_name_splits_otherwise_and_is_refused(plain: Checkpoint, reader: DatasetReader, small: Small, tmp_path: Path) -> None:
    renamed = yaml.safe_load((small.root / "square.yaml").read_text(encoding="utf-8")) | {"name": "squares"}
    (tmp_path / "renamed.yaml").write_text(yaml.safe_dump(renamed), encoding="utf-8")
    with pytest.raises(EvaluationError, match="got: name: squares; allowed: name: square;"):
        require(told(plain, reader), small, description=str(tmp_path / "renamed.yaml"))


def test_a_set_of_which_nothing_was_kept_back_is_refused(plain: Checkpoint, reader: DatasetReader, small: Small) -> None:
    with pytest.raises(EvaluationError, match="trained on every episode"):
        require(told(plain, reader, share=0.0), small)


def test_a_set_is_known_by_whatever_path_it_is_reached_and_where_it_was_copied(
    plain: Checkpoint, reader: DatasetReader, small: Small, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(small.root / "held_out")
    shutil.copytree(small.root / "held_out", tmp_path / "copy")
    for root in ("shifted/../held_out", str(tmp_path / "link"), str(tmp_path / "copy")):
        with pytest.raises(EvaluationError, match="other episodes were kept back"):
            require(told(plain, reader), small, root=root, seed=6)


def test_of_an_older_checkpoint_the_paths_of_its_training_are_compared(plain: Checkpoint, small: Small) -> None:
    source = {"root": "held_out", "labelled": True}
    data = {"sources": [source], "mixture": {"held_out": SHARE, "seed": SEED}}
    old = dataclasses.replace(plain, records={"train_config": {"data": data}})
    require(old, small)
    with pytest.raises(EvaluationError, match=r"allowed: held_out: 0\.3, seed: 5"):
        require(old, small, held_out=0.1, seed=6)
    hidden = dataclasses.replace(plain, records={"train_config": {"data": data | {"sources": [source | {"labelled": False}]}}})
    with pytest.raises(EvaluationError, match="trained on every episode"):
        require(hidden, small)


def test_the_verb_refuses_before_it_measures_anything(plain: Checkpoint, reader: DatasetReader, small: Small, tmp_path: Path) -> None:
    place = checkpoints.save(tmp_path, "seen", told(plain, reader))
    with pytest.raises(EvaluationError, match="other episodes were kept back"):
        evaluate(place, small.config, [], tmp_path / "out", lambda _: None)
    assert not (place / "verdict.json").exists()
