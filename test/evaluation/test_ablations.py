"""Protects `wm ablations`: variants differ in what they say and in nothing else, and a killed comparison goes on where it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from small_evaluation import CONFIG, Small

from wm_core import configuration
from wm_core.errors import WmError
from wm_core.evaluation.ablations import Ablations, AblationsConfig, ablate
from wm_core.evaluation.errors import EvaluationError
from wm_core.training import train_config
from wm_core.world_model import checkpoint

MODEL = {"latent_dim": 8, "grids": [[2, 2], [1, 1]], "dim": 16, "layers": 2, "time_every": 2, "heads": 2, "kv_heads": 1, "mlp_hidden": 24}
MODEL |= {"registers": 1, "soft_cap": 50.0, "context": 8, "finest_steps": 16, "action_dim": 7, "action_hidden": 8}
VARIANTS = [
    {"name": "whole", "changes": []},
    {"name": "without_bootstrap", "changes": ["objective.bootstrap_fraction=0.0"]},
    {"name": "teacher_forced", "changes": ["objective.kind=deterministic"]},
]


@pytest.fixture(scope="module")
def config(small: Small) -> Path:
    training = {
        "model": MODEL,
        "objective": {"kind": "shortcut", "sampling_steps": 4, "context_noise": 0.1},
        "data": {
            "sources": [{"root": "held_out", "description": "square.yaml", "labelled": True}],
            "encoder": str(small.root / "encoder"),
            "cache": "tokens",
            "clip": {"seconds": 0.8, "fps": 10.0},
            "statistics_batches": 2,
            "preprocessing": {"height": 32, "width": 32},
            "mixture": {"unlabelled_per_labelled": 0.0, "held_out": 0.3},
        },
        "run": {"steps": 500, "batch": 4, "global_batch": 4, "device": "cpu", "threads": 1},
        "curriculum": [{"from_step": 0, "frames": [8]}],
    }
    (small.root / "train.yaml").write_text(yaml.safe_dump(training), encoding="utf-8")
    evaluation = yaml.safe_load(small.config.read_text(encoding="utf-8"))
    evaluation["data"]["labelled"]["held_out"] = 0.3
    (small.root / "evaluate_kept_back.yaml").write_text(yaml.safe_dump(evaluation), encoding="utf-8")
    described = {
        "training": "train.yaml",
        "evaluation": "evaluate_kept_back.yaml",
        "steps": 3,
        "variants": VARIANTS,
        "sampling_steps": [1, 4],
    }
    path = small.root / "ablations.yaml"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ablations(small: Small, config: Path) -> Ablations:
    return ablate(config, [], small.root / "ablations", lambda _: None)


def test_every_variant_has_a_row_for_each_way_it_is_sampled(ablations: Ablations) -> None:
    found = [(row.name, row.steps) for row in ablations.rows]
    assert found == [("whole", 1), ("whole", 4), ("without_bootstrap", 1), ("without_bootstrap", 4), ("teacher_forced", 1)]
    assert ablations.rows[-1].error.seeds == 1
    assert set(ablations.rows[-1].spread) == {0.0}


def test_a_variant_is_trained_as_it_says_and_as_long_as_the_others(ablations: Ablations, small: Small) -> None:
    saved = {name: checkpoint.load(checkpoint.newest(small.root / "ablations" / name)) for name in ("whole", "teacher_forced")}
    assert {one.provenance.step for one in saved.values()} == {3}
    assert saved["teacher_forced"].config.objective.kind == "deterministic"
    assert saved["teacher_forced"].config.model == saved["whole"].config.model


def test_clips_that_a_variant_was_trained_on_are_refused(ablations: Ablations, small: Small, config: Path) -> None:
    with pytest.raises(EvaluationError, match=r"other episodes were kept back.*allowed: held_out: 0\.3"):
        ablate(config, ["evaluation=evaluate.yaml"], small.root / "ablations", lambda _: None)


def test_what_was_trained_is_not_trained_again(ablations: Ablations, small: Small, config: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (small.root / "ablations").rglob("*.safetensors")}
    assert ablate(config, [], small.root / "ablations", lambda _: None) == ablations
    assert {path: path.stat().st_mtime_ns for path in (small.root / "ablations").rglob("*.safetensors")} == before


def test_a_variant_that_was_trained_as_another_is_refused_by_what_differs(ablations: Ablations, small: Small, config: Path) -> None:
    for change, named in (("steps=2", "run.steps: 2"), ("changes=[objective.bootstrap_start=1]", "objective.bootstrap_start: 1")):
        with pytest.raises(WmError, match=f"variant 'whole'.*{named}"):
            ablate(config, [change], small.root / "ablations", lambda _: None)


def test_the_time_of_a_training_that_was_killed_before_it_was_written_down_is_not_known(
    ablations: Ablations, small: Small, config: Path, tmp_path: Path
) -> None:
    shutil.copytree(small.root / "ablations" / "whole", tmp_path / "whole")
    (tmp_path / "whole" / "seconds.json").unlink()
    alone = ["variants=[{name: whole, changes: []}]", "sampling_steps=[1]"]
    found = ablate(config, alone, tmp_path, lambda _: None).rows[0]
    assert found.seconds is None
    assert found.error == ablations.rows[0].error
    assert "| ? |" in (tmp_path / "ablations.md").read_text(encoding="utf-8")


def test_the_table_has_a_line_per_row(ablations: Ablations, small: Small) -> None:
    lines = (small.root / "ablations" / "ablations.md").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith(("| whole", "| without", "| teacher")) for line in lines) == len(ablations.rows)
    assert len(json.loads((small.root / "ablations" / "ablations.json").read_text(encoding="utf-8"))["rows"]) == len(ablations.rows)


def test_a_change_that_the_training_does_not_know_is_refused(small: Small, config: Path, tmp_path: Path) -> None:
    described = yaml.safe_load(config.read_text(encoding="utf-8")) | {"variants": [{"name": "odd", "changes": ["objective.bootstrp=1"]}]}
    odd = small.root / "odd.yaml"
    odd.write_text(yaml.safe_dump(described), encoding="utf-8")
    with pytest.raises(WmError, match="unknown key"):
        ablate(odd, [], tmp_path, lambda _: None)


def test_the_shipped_variants_change_settings_that_the_shipped_training_has() -> None:

    shipped = configuration.read(AblationsConfig, CONFIG / "ablations.yaml")
    whole = train_config.read(CONFIG / shipped.training, shipped.changes)
    changed = [train_config.read(CONFIG / shipped.training, [*shipped.changes, *variant.changes]) for variant in shipped.variants]
    assert [one == whole for one in changed] == [not variant.changes for variant in shipped.variants]
