"""Protects `wm train` from recorded pictures to a checkpoint: what it costs is said first, it goes on, and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from wm_core import configuration
from wm_core.data.collect import CollectConfig, collect
from wm_core.data.episode import Episode
from wm_core.data.lerobot_writer import DatasetWriter, Layout, VideoSettings
from wm_core.data.skips import Skip, Skips
from wm_core.data.token_cache import Plan
from wm_core.errors import CheckpointError, ConfigurationError
from wm_core.simulation.sim_config import SimConfig
from wm_core.training import dry_run, metrics_log, train_config
from wm_core.training.distributed import Processes
from wm_core.training.errors import TrainingError
from wm_core.training.token_source import Datasets, open_datasets, open_encoder
from wm_core.training.train import prepare, train
from wm_core.vision.embedded import MomentNetwork, save_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing
from wm_core.world_model import checkpoint

CONFIG = Path(__file__).resolve().parents[2] / "config"
NETWORK = MomentNetwork(width=8, stride=4, maps=8, cell=24, dim=8)
SMALL = {
    "model": {"latent_dim": 8, "dim": 16, "layers": 2, "time_every": 2, "heads": 2, "kv_heads": 2, "mlp_hidden": 16, "action_hidden": 8},
    "run": {"steps": 4, "threads": 1, "device": "cpu", "log_every": 1, "checkpoint_every": 2},
}
VIDEO = VideoSettings(codec="h264", quality=25, chroma="yuv420p", key_frame_every=6, file_size=5.0)
Train = Callable[..., list[str]]


def save_encoder(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    pixels = Preprocessing(96, "exact", (0.5,) * 3, (0.3,) * 3)
    save_embedded(folder, FrozenEncoder("tiny", NETWORK.build(96), pixels, torch.device("cpu")), NETWORK, {})


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled and an unlabelled set, an encoder, and a training's YAML that names them relative to itself."""
    root = tmp_path_factory.mktemp("laboratory")
    torch.set_num_threads(1)
    arm = configuration.read(SimConfig, CONFIG / "sim_arm.yaml")
    sets = replace(configuration.read(CollectConfig, CONFIG / "collect.yaml"), episodes=2, frames=9)
    for name, labelled in (("arm", True), ("video", False)):
        collect(replace(sets, labelled=labelled), arm, root / name)
    save_encoder(root / "encoder", seed=0)
    plain = yaml.safe_load((CONFIG / "train_embedded.yaml").read_text())
    for section, values in SMALL.items():
        plain[section] |= values
    plain["data"] |= {"encoder": "encoder", "cache": "tokens", "statistics_batches": 2}
    plain["data"]["clip"] = {"seconds": 0.8, "fps": 10.0}
    plain["data"]["mixture"]["unlabelled_per_labelled"] = 1.0
    plain["data"]["sources"] = [
        {"root": "arm", "description": str(CONFIG / "datasets" / "embedded_arm.yaml"), "labelled": True, "tool_state": True},
        {"root": "video", "description": str(CONFIG / "datasets" / "embedded_arm_unlabelled.yaml"), "labelled": False},
    ]
    plain["curriculum"] = [{"from_step": 0, "frames": [8]}, {"from_step": 2, "frames": [8], "horizon": 2}]
    (root / "train.yaml").write_text(yaml.safe_dump(plain))
    return root


@pytest.fixture
def run(laboratory: Path, tmp_path: Path) -> Train:
    """`wm train` into tmp_path/out; what it said."""

    def call(*overrides: str, resume: bool = False, dry: bool = False) -> list[str]:
        said: list[str] = []
        train(laboratory / "train.yaml", overrides, tmp_path / "out", resume, dry, said.append)
        return said

    return call


def test_a_dry_run_tells_cameras_rates_and_cost_and_trains_nothing(run: Train, tmp_path: Path) -> None:
    said = "\n".join(run(dry=True))
    for fact in ("front = observation.images.front", "at 10 Hz", "8 frames", "4 videos, 36 frames", "memory", "s a step", "4 x 8 x 16 x 8"):
        assert fact in said, said
    assert not (tmp_path / "out").exists()


def test_it_trains_goes_on_and_tells_labelled_from_unlabelled(run: Train, tmp_path: Path) -> None:
    run("run.steps=2", "data.cache_bits=8")
    assert any(line.startswith("run.steps was 2 and is 4:") for line in run("run.steps=4", resume=True))
    loaded, lines = checkpoint.load(checkpoint.newest(tmp_path / "out")), metrics_log.read(tmp_path / "out")
    assert loaded.provenance.step == 4
    assert loaded.provenance.data_hash
    assert loaded.provenance.encoder == "tiny"
    assert sorted(loaded.statistics) == ["actions", "latents", "proprioception"]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    named = {name for line in lines for name in line}
    assert any(name.endswith("/labelled") for name in named)
    assert any(name.endswith("/unlabelled") for name in named)
    assert ["rollout_loss" in line for line in lines] == [False, False, True, True]
    assert list((tmp_path / "out" / "tensorboard").iterdir())


def test_another_training_begins_with_the_averaged_weights_and_keeps_the_statistics(run: Train, laboratory: Path, tmp_path: Path) -> None:
    run("run.steps=3")
    before = checkpoint.load(checkpoint.newest(tmp_path / "out"))
    still = ("run.steps=1", "run.seed=5", "optimiser.learning_rate=0.000000001", "data.statistics_batches=1", "optimiser.kind=adamw")
    train(laboratory / "train.yaml", still, tmp_path / "on", False, False, lambda line: None, start=tmp_path / "out")
    after = checkpoint.load(checkpoint.newest(tmp_path / "on"))
    assert after.provenance.step == 1
    assert after.statistics.keys() == before.statistics.keys()
    for name, kept in before.statistics.items():
        assert torch.equal(after.statistics[name].mean, kept.mean)
    for name, weights in before.ema.items():
        assert torch.allclose(after.ema[name], weights, atol=1e-6), name


def test_a_training_does_not_begin_with_the_weights_of_another_encoder(run: Train, laboratory: Path, tmp_path: Path) -> None:
    run("run.steps=1")
    save_encoder(laboratory / "stranger", seed=1)
    changed = ("run.steps=1", "data.encoder=stranger")
    with pytest.raises(CheckpointError, match="trained on another encoder"):
        train(laboratory / "train.yaml", changed, tmp_path / "on", False, False, lambda line: None, start=tmp_path / "out")
    assert not (tmp_path / "on").exists()


def test_a_start_of_another_shape_or_beside_a_resume_is_refused_before_anything_is_encoded(
    run: Train, laboratory: Path, tmp_path: Path
) -> None:
    run("run.steps=1")
    for overrides, resume, what in ((("model.mlp_hidden=32",), False, "not of the shape"), ((), True, "one of them")):
        with pytest.raises(TrainingError, match=what):
            train(laboratory / "train.yaml", overrides, tmp_path / "on", resume, True, lambda line: None, start=tmp_path / "out")


def test_a_cache_is_filled_once(run: Train, laboratory: Path) -> None:
    run("run.steps=1")
    files = {path: path.stat().st_mtime_ns for path in (laboratory / "tokens").rglob("*.tokens")}
    assert len(files) == 4
    said = run("run.steps=2", resume=True)
    assert any("0 videos" in line for line in said)
    assert {path: path.stat().st_mtime_ns for path in (laboratory / "tokens").rglob("*.tokens")} == files


def test_it_is_told_what_is_too_short_for_a_clip_and_what_the_curriculum_could_still_use(laboratory: Path) -> None:
    """Clips of the longest stage are read in every stage: episodes of 9 rows give none of 12, whatever a stage cuts them to."""
    changes = ("data.cache=told", "data.clip.seconds=1.2", "curriculum=[{from_step: 0, frames: [4]}, {from_step: 2, frames: [4, 12]}]")
    config = train_config.read(laboratory / "train.yaml", changes)
    datasets = open_datasets(config.data, laboratory, open_encoder(config.data, laboratory, torch.device("cpu")))
    told = [line for line in dry_run.describe(config, datasets) if "shorter" in line]
    lost = "(100.0%, 100.0% of its time) are shorter than a clip of 1.2 s and give none, the first: 0, 1"
    rest = "with data.clip.seconds=0.4, the shortest of the curriculum, 0 would give none"
    assert told == [f"  2 of 2 episodes of {laboratory / name} {lost}; {rest}" for name in ("arm", "video")]


def test_of_several_processes_one_tells_what_all_meet(laboratory: Path) -> None:
    """An unreadable episode is met by each of them, while it encodes and while it measures."""
    config = train_config.read(laboratory / "train.yaml", ["data.cache=shared"])
    opened = open_datasets(config.data, laboratory, open_encoder(config.data, laboratory, torch.device("cpu")))
    planted = Skip("set", 1, "planted")

    class Planted(Datasets):
        def fill(self, announce: Callable[[Plan], None], skipped: Callable[[Skip], None], rank: int = 0, world: int = 1) -> None:
            super().fill(announce, skipped, rank, world)
            skipped(planted)

    said = dict[int, list[str]]()
    for rank in (1, 0):
        said[rank] = []
        skips = Skips(said[rank].append)
        prepare(Planted(opened.config, opened.copies), config, Processes(rank, 2), None, skips, said[rank].append)
        skips.add(planted)
        assert skips.lines() == (planted.text(),)
    assert said == {1: [], 0: ["skipped set 1: planted"]}, "and the second to come found nothing left to encode"


def test_augmented_copies_give_other_tokens_and_off_gives_what_was_there(laboratory: Path) -> None:
    def opened(*changes: str) -> Datasets:
        own = train_config.read(laboratory / "train.yaml", ["data.cache=changed", *changes]).data
        return open_datasets(own, laboratory, open_encoder(own, laboratory, torch.device("cpu")))

    skipped: list[Skip] = []
    plain, off = opened(), opened("data.augmentation.brightness=0.5")
    on = opened("data.augmentation.copies=2", "data.augmentation.brightness=0.5")
    assert on.plan().frames - off.plan().frames == 72, "both copies are in the plan"
    for datasets in (plain, off, on):
        datasets.fill(lambda plan: None, skipped.append)
    assert len(list((laboratory / "changed").rglob("*.tokens"))) == 12
    assert plain.hash() == off.hash() != on.hash()
    first, same, changed = (list(islice(one.source(64, skipped.append), 2)) for one in (plain, off, on))
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(first, same, strict=True))
    known = torch.cat([batch.latents for batch in first]).flatten(1)
    shown = torch.cat([batch.latents for batch in changed]).flatten(1)
    new = (torch.cdist(shown, known).min(dim=1).values > 1e-3).float().mean()
    assert 0.45 < new < 0.9, "two of three clips come from a changed copy"
    assert not skipped


def test_a_dataset_that_is_listed_again_without_labels_counts_as_split_like_its_labelled_one(laboratory: Path) -> None:
    plain = yaml.safe_load((laboratory / "train.yaml").read_text())["data"]["sources"]
    again = {**plain[0], "labelled": False, "root": f"{plain[0]['root']}/../{Path(plain[0]['root']).name}"}
    own = train_config.read(laboratory / "train.yaml", [f"data.sources={json.dumps([*plain, again])}", "data.mixture.held_out=0.5"]).data
    told = open_datasets(own, laboratory, open_encoder(own, laboratory, torch.device("cpu"))).trained_on()
    assert [one.held_out for one in told] == [0.5 if one["labelled"] else 0.0 for one in plain]


def test_the_hash_of_the_data_tells_what_clips_depend_on_source_by_source(laboratory: Path, tmp_path: Path) -> None:
    plain = yaml.safe_load((laboratory / "train.yaml").read_text())["data"]["sources"]
    described = yaml.safe_load((CONFIG / "datasets" / "embedded_arm.yaml").read_text())

    def hashed(*changes: str, scale: float = 1.0, **arm: object) -> list[str]:
        described["action"]["translation"]["scale"] = scale
        (tmp_path / "arm.yaml").write_text(yaml.safe_dump(described))
        sources = [plain[0] | {"description": str(tmp_path / "arm.yaml")} | arm, plain[1]]
        own = train_config.read(laboratory / "train.yaml", [f"data.sources={json.dumps(sources)}", *changes]).data
        return open_datasets(own, laboratory, open_encoder(own, laboratory, torch.device("cpu"))).hash().split("-")

    arm, video = hashed()
    assert hashed("data.cache=elsewhere", "data.workers=2") == [arm, video]
    changed = [hashed(scale=0.001), hashed(labelled=False), hashed(weight=2.0), hashed(tool_state=False)]
    assert {one[1] for one in changed} == {video}
    assert len({arm, *(one[0] for one in changed)}) == 5
    for setting in ("data.mixture.held_out=0.2", "data.clip.seconds=0.9", "data.preprocessing.height=48"):
        assert not {arm, video} & set(hashed(setting)), setting


def test_another_encoder_is_refused_to_go_on_with(run: Train, laboratory: Path) -> None:
    run("run.steps=1")
    save_encoder(laboratory / "other", seed=1)
    try:
        shutil.move(laboratory / "encoder", laboratory / "kept")
        shutil.copytree(laboratory / "other", laboratory / "encoder")
        with pytest.raises(CheckpointError, match="trained on another encoder"):
            run("run.steps=2", resume=True)
    finally:
        shutil.rmtree(laboratory / "encoder")
        shutil.move(laboratory / "kept", laboratory / "encoder")


def test_a_model_of_another_size_than_the_encoders_is_refused(run: Train) -> None:
    with pytest.raises(TrainingError, match="latent_dim 8, grid"):
        run("model.latent_dim=16")


def test_every_episode_that_gives_no_clip_is_named(laboratory: Path, tmp_path: Path) -> None:
    """One is shorter than a clip, one contradicts itself, one has an action that is no number: pictures alone would not tell."""
    front, lengths = "observation.images.front", (10, 10, 5, 10)
    draw = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "set", Layout(10, "arm", {front: (96, 96)}, {"action": list("abcdefg")}), VIDEO) as writer:
        for rows in lengths:
            pictures = draw.integers(0, 256, (rows, 96, 96, 3), dtype=np.uint8)
            writer.write(Episode("none", np.arange(rows) / 10.0, {front: pictures}, {"action": draw.normal(size=(rows, 7))}))
    (rows,) = (tmp_path / "set" / "data").rglob("*.parquet")
    change(rows, "action", lambda values: [[float("nan")] * 7 if row == 15 else value for row, value in enumerate(values)])
    (episodes,) = (tmp_path / "set" / "meta" / "episodes").rglob("*.parquet")
    change(episodes, f"videos/{front}/from_timestamp", lambda values: [*values[:3], values[3] + 0.5])
    part = {"key": "action", "width": 7}
    mapping = {name: part | {"take": take} for name, take in (("translation", [0, 1, 2]), ("rotation", [3, 4, 5]), ("gripper", [6]))}
    mapping |= {"kind": "delta", "rotation_form": "rotation_vector", "gripper_closed": 0.0, "gripper_open": 1.0}
    described = {"name": "planted", "fps": 10.0, "cameras": {"front": front}, "action": mapping}
    (tmp_path / "planted.yaml").write_text(yaml.safe_dump(described))
    plain = yaml.safe_load((laboratory / "train.yaml").read_text())
    plain["data"] |= {"encoder": str(laboratory / "encoder"), "cache": "tokens"}
    plain["data"]["mixture"]["unlabelled_per_labelled"] = 0.0
    plain["data"]["sources"] = [{"root": "set", "description": "planted.yaml", "labelled": True}]
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(plain))
    said: list[str] = []
    train(tmp_path / "train.yaml", ["run.steps=1"], tmp_path / "out", False, False, said.append)
    root = tmp_path / "set"
    assert f"  1 episodes of {root} contradict themselves, the first: 3, another number of frames than of rows" in said
    assert f"  1 of 3 episodes of {root} (33.3%, 20.0% of its time) are shorter than a clip of 0.8 s and give none, the first: 2" in said
    assert [line.split(";")[0] for line in said if line.startswith("skipped")] == [f"skipped {root} 1: an action is not a number"]


def change(path: Path, name: str, of: Callable[[list[object]], list[object]]) -> None:
    """Another column in place of one of a table on disk."""
    table = pq.read_table(path)
    place = table.column_names.index(name)
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(of(table[name].to_pylist()), table.schema.field(place).type)), path
    )


@pytest.mark.parametrize("setting", ["model.action_dim=6", "model.proprioception_dim=14"])
def test_a_model_of_other_widths_than_actions_and_readings_have_is_refused_before_anything_is_encoded(run: Train, setting: str) -> None:
    with pytest.raises(TrainingError, match="action_dim 7, proprioception_dim 0 or 7"):
        run(setting, dry=True)


def test_what_is_not_a_setting_is_refused(run: Train) -> None:
    with pytest.raises(ConfigurationError, match=r"run\.step"):
        run("run.step=3")


def test_truncated_weights_are_refused_by_name(run: Train, tmp_path: Path) -> None:
    run("run.steps=1")
    weights = checkpoint.newest(tmp_path / "out") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        run("run.steps=2", resume=True)
