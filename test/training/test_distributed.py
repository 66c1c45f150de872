"""Protects training by several processes: two of them learn what one learns from the same clips, and their checkpoints are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_training import SHARED_OUT, make_trainer, shared_out, train_config

from wm_core.errors import ConfigurationError
from wm_core.training import metrics_log
from wm_core.world_model import checkpoint

HERE = Path(__file__).resolve().parent
STEPS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same trainings alone and by two processes; "resumed" was begun alone and is ended by two."""
    root = tmp_path_factory.mktemp("training")
    torch.set_num_threads(1)
    for name in SHARED_OUT:
        make_trainer(root / "alone" / name, shared_out(name, STEPS)).run(progress=False)
    make_trainer(root / "resumed", shared_out("fsdp", STEPS)).run(until=3, progress=False)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(HERE / "two_processes.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run([*command, str(root), str(STEPS)], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.parametrize("name", [*SHARED_OUT, "resumed"])
def test_two_processes_have_the_loss_curve_of_one(folder: Path, name: str) -> None:
    alone = folder / "alone" / ("fsdp" if name == "resumed" else name)
    one, two = metrics_log.read(alone), metrics_log.read(folder / name)
    assert len(one) == len(two) == STEPS
    for line, other in zip(one, two, strict=True):
        assert line.keys() == other.keys()
        assert all(abs(line[key] - other[key]) < 1e-3 for key in line), (line, other)
    assert any("rollout_loss" in line for line in two) == (name == "ddp")
    saved, expected = (checkpoint.load(checkpoint.newest(part)) for part in (folder / name, alone))
    assert saved.records["training_state"]["ema_updates"] == STEPS
    for key, value in expected.ema.items():
        torch.testing.assert_close(saved.ema[key], value, atol=1e-4, rtol=1e-3)
    assert saved.tensors["training_state"].keys() == expected.tensors["training_state"].keys()


def test_clips_of_a_step_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="multiples of 12"):
        train_config(batch=4, global_batch=16).accumulation(3)
