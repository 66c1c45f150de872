"""Protects checkpoints: what is written is read back, a kill at any moment loses nothing, and what is damaged or foreign is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from small_models import awake, small_config

from wm_core.errors import CheckpointError
from wm_core.world_model import checkpoint as checkpoints
from wm_core.world_model.checkpoint import Checkpoint, Provenance, load, newest, save
from wm_core.world_model.ema import Ema
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import parameters

FILES = (
    "config.yaml",
    "model.safetensors",
    "ema.safetensors",
    "statistics.json",
    "checkpoint.json",
    "optimiser.safetensors",
    "sampler.json",
)


def example(step: int = 1, seed: int = 0) -> Checkpoint:
    config = small_config()
    network = awake(config, seed)
    statistics = {"latent": Statistics(torch.randn(5), torch.rand(5) + 0.1), "action": Statistics(torch.zeros(3), torch.ones(3))}
    provenance = Provenance("dino-small", "abc123", step, "data0", "rev0", {"loss": 0.25})
    extra = {"optimiser": {"moment": torch.arange(4.0)}}
    ema = Ema(awake(config, seed + 1), 0.9).network.state_dict()
    return Checkpoint(config, network.state_dict(), ema, statistics, provenance, extra, {"sampler": {"epoch": 3}})


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


def killed_at(moment: int, root: Path) -> bool:
    """Save in a process of its own that is killed at its n-th flush to the disk; False if it lived."""
    child = os.fork()
    if child == 0:
        flush, count = checkpoints._flush, 0

        def flush_or_die(path: Path) -> None:
            nonlocal count
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            flush(path)

        checkpoints._flush = flush_or_die
        save(root, "step_2", example(step=2, seed=5))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_moment_leaves_the_last_checkpoint_loadable(tmp_path: Path) -> None:
    save(tmp_path, "step_1", example())
    moment, steps = 0, []
    while killed_at(moment, tmp_path):
        found = load(newest(tmp_path))
        steps.append(found.provenance.step)
        assert (tmp_path / "step_2").exists() == (found.provenance.step == 2)
        if found.provenance.step == 2:
            (tmp_path / "step_2").rename(tmp_path / f".removed_{moment}")
        moment += 1
    assert moment >= len(FILES) + 1
    assert steps[0] == 1
    assert load(newest(tmp_path)).provenance.step == 2


def test_the_newest_is_the_one_with_most_steps(tmp_path: Path) -> None:
    for step in (30, 200, 100):
        save(tmp_path, f"step_{step}", example(step))
    assert newest(tmp_path).name == "step_200"
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        newest(tmp_path / "elsewhere")


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
        Checkpoint(ours.config, {}, {}, ours.statistics, ours.provenance).network("model")


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
