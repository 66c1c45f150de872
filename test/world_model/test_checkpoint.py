"""Protects checkpoints: what is written is read back, a kill at any moment loses nothing, and what is damaged or foreign is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from saved_example import example
from small_models import awake, small_config

from wm_core.errors import CheckpointError
from wm_core.world_model import checkpoint as checkpoints
from wm_core.world_model.checkpoint import Checkpoint, load, newest, save, served
from wm_core.world_model.transformer import parameters

HERE = Path(__file__).resolve().parent
FILES = (
    "config.yaml",
    "model.safetensors",
    "ema.safetensors",
    "statistics.json",
    "checkpoint.json",
    "optimiser.safetensors",
    "sampler.json",
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = example()
    read = load(save(tmp_path, "step_1", written))
    assert read.config == written.config
    assert read.provenance == written.provenance
    assert read.records == {"sampler": {"epoch": 3}}
    assert torch.equal(read.tensors["optimiser"]["moment"], torch.arange(4.0))
    for name in ("latent", "action"):
        assert torch.equal(read.statistics[name].mean, written.statistics[name].mean)
        assert torch.equal(read.statistics[name].std, written.statistics[name].std)
    for weights, tensors in (("model", written.model), ("ema", written.ema)):
        network = read.network(weights)  # type: ignore[arg-type]
        assert not network.training
        assert parameters(network) > 1000
        assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())
    assert sorted(path.name for path in (tmp_path / "step_1").iterdir()) == sorted(FILES)


def test_a_kill_at_any_moment_leaves_the_last_checkpoint_loadable(tmp_path: Path) -> None:
    """killed_saves.py saves step 1, and dies in each folder at a later moment of saving step 2."""
    done = subprocess.run([sys.executable, HERE / "killed_saves.py", tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    folders = sorted(tmp_path.glob("moment_*"))
    steps = [load(newest(folder)).provenance.step for folder in folders]
    assert [(folder / "step_2").exists() for folder in folders] == [step == 2 for step in steps]
    assert len(folders) >= len(FILES) + 2
    assert steps[0] == 1
    assert steps == sorted(steps)
    assert steps[-1] == 2


def test_the_newest_is_the_one_with_most_steps(tmp_path: Path) -> None:
    for step in (30, 200, 100):
        save(tmp_path, f"step_{step}", example(step))
    assert newest(tmp_path).name == "step_200"
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        newest(tmp_path / "elsewhere")
    for damaged in ('{"step', '{"step": null}'):
        (tmp_path / "step_30" / "checkpoint.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"remove .*step_30"):
            newest(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    path = save(tmp_path, "step_1", example()) / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif name == "checkpoint.json":
        path.write_bytes(content.replace(b'"format": 1', b'"format": 9'))
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"format|" + name.replace(".", r"\.")):
        load(tmp_path / "step_1")


def test_a_manifest_with_other_keys_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "step_1", example()) / "checkpoint.json"
    manifest = json.loads(path.read_text())
    for broken in ({**manifest, "files": []}, {key: value for key, value in manifest.items() if key != "encoder"}):
        path.write_text(json.dumps(broken))
        with pytest.raises(CheckpointError, match="whole checkpoint"):
            load(path.parent)
    path.write_text(json.dumps([1]))
    with pytest.raises(CheckpointError, match="whole checkpoint"):
        load(path.parent)


def test_weights_of_another_size_are_refused_by_name() -> None:
    other = awake(small_config(registers=3)).state_dict()
    ours = example()
    with pytest.raises(CheckpointError, match=r"embedding\.registers: \(3, 32\); allowed: embedding\.registers: \(2, 32\)"):
        Checkpoint(ours.config, other, other, ours.statistics, ours.provenance).network()
    with pytest.raises(CheckpointError, match="missing"):
        Checkpoint(ours.config, {}, {}, ours.statistics, ours.provenance).network()


def test_what_is_served_holds_the_averaged_weights_alone(tmp_path: Path) -> None:
    whole = example()
    again = load(save(tmp_path, "step_1", served(whole)))
    assert all(torch.equal(value, whole.ema[name]) for name, value in again.ema.items())
    assert (again.tensors, again.statistics.keys()) == ({}, whole.statistics.keys())
    again.network()
    with pytest.raises(CheckpointError, match="no trained weights"):
        again.network("model")


def test_another_encoder_is_refused() -> None:
    example().require_encoder("dino-small", "abc123")
    with pytest.raises(CheckpointError, match="got: dino-small ffff; allowed: dino-small abc123"):
        example().require_encoder("dino-small", "ffff")


def test_a_name_is_not_written_twice_and_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "step_1", example())
    with pytest.raises(CheckpointError, match="exists"):
        save(tmp_path, "step_1", example())

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_flush", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save(tmp_path, "step_2", example(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
