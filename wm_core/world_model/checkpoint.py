"""A checkpoint is one directory that appears whole or not at all.

    config.yaml          the resolved configuration
    model.safetensors    the trained weights; a checkpoint that is only served has none
    ema.safetensors      the averaged weights
    statistics.json      mean and deviation per channel of latents, actions, proprioception
    checkpoint.json      step, encoder, data, revision, metrics, and the size and SHA-256 of every file above
Training and evaluation may add files of their own. No pickle is read or written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wm_core import configuration
from wm_core.errors import CheckpointError, WmError
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import Transformer

FORMAT = 1
MANIFEST = "checkpoint.json"
Weights = Literal["model", "ema"]


@dataclass(frozen=True)
class Provenance:
    """Where a checkpoint comes from and what it fits."""

    encoder: str
    encoder_hash: str
    step: int = 0
    data_hash: str = ""
    git_revision: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """Everything in a checkpoint; `tensors` and `records` are what training adds, by file name without ending."""

    config: WorldModelConfig
    model: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    statistics: Mapping[str, Statistics]
    provenance: Provenance
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    records: Mapping[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def network(self, weights: Weights = "ema") -> Transformer:
        """The network in eval mode with the weights asked for."""
        if weights == "model" and not self.model:
            mend = "take the averaged ones (ema), or the checkpoint that training wrote"
            raise CheckpointError("the checkpoint holds no trained weights", got="those that are served", mend=mend)
        network = Transformer(self.config.model)
        fill(network, self.model if weights == "model" else self.ema, weights)
        return network.eval()

    def require_encoder(self, name: str, weight_hash: str) -> None:
        """Refuse an encoder other than the one the model was trained on."""
        own = self.provenance
        if (name, weight_hash) != (own.encoder, own.encoder_hash):
            raise CheckpointError(
                "the checkpoint was trained on another encoder",
                got=f"{name} {weight_hash}",
                allowed=f"{own.encoder} {own.encoder_hash}",
                mend="run that encoder, or load a checkpoint of this one",
            )


def fill(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Weights into a network; names or shapes that disagree are refused."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in weights.items()}
    wrong = sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
    if wrong:
        key = wrong[0]
        got = f"{len(wrong)} tensors, first {key}: {given.get(key, 'missing')}"
        allowed = f"{key}: {wanted.get(key, 'not there')}"
        raise CheckpointError(
            f"the {name} weights do not fit the configuration", got=got, allowed=allowed, mend="load both from one directory"
        )
    network.load_state_dict(weights)


def save(root: str | Path, name: str, checkpoint: Checkpoint) -> Path:
    """Write root/name; a kill at any moment leaves either nothing of that name or all of it, and what was there before."""
    root = Path(root)
    final, partial = root / name, root / f".{name}.partial"
    if final.exists():
        raise CheckpointError("a checkpoint of this name exists", got=final, mend="choose another name or remove it")
    try:
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write_all(partial, checkpoint)
        _flush(partial)
        os.rename(partial, final)
        _flush(root)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError("the checkpoint cannot be written", got=error, mend=f"free space or rights under {root}") from error
    return final


def served(checkpoint: Checkpoint) -> Checkpoint:
    """What is needed to imagine, and where it comes from; nobody can go on training from it."""
    records = {name: record for name, record in checkpoint.records.items() if name != "training_state"}
    return dataclasses.replace(checkpoint, model={}, tensors={}, records=records)


def written(root: str | Path) -> list[Path]:
    """The checkpoints under `root`, those that were damaged since among them."""
    return sorted(manifest.parent for manifest in Path(root).glob(f"[!.]*/{MANIFEST}"))


def newest(root: str | Path) -> Path:
    """The checkpoint with the most training steps under `root`; one that cannot say how many it has is refused."""
    found = [(_steps_of(folder), folder) for folder in written(root)]
    if not found:
        raise CheckpointError("no checkpoint here", got=root, mend="give the directory that training wrote to")
    return max(found)[1]


def load(path: str | Path) -> Checkpoint:
    """The checkpoint in directory `path`, every file checked against its size and hash."""
    path = Path(path)
    manifest = _read_manifest(path)
    if manifest.get("format") != FORMAT:
        raise CheckpointError(
            "the checkpoint has another format", got=manifest.get("format"), allowed=str(FORMAT), mend=f"train {path} again"
        )
    try:
        files = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
        known = {key.name: manifest[key.name] for key in dataclasses.fields(Provenance)}
        provenance = Provenance(**known)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path / MANIFEST, f"key {error}") from error
    for name, (size, digest) in files.items():
        _check(path / name, size, digest)
    missing = {"config.yaml", "statistics.json", "ema.safetensors"} - files.keys()
    if missing:
        raise _damaged(path / MANIFEST, f"no {', '.join(sorted(missing))}")
    tensors = {name.removesuffix(".safetensors"): _read_tensors(path / name) for name in files if name.endswith(".safetensors")}
    records = {name.removesuffix(".json"): _read_json(path / name) for name in files if name.endswith(".json")}
    try:
        statistics = {name: Statistics.of_record(record) for name, record in records.pop("statistics").items()}
    except (KeyError, TypeError, ValueError, WmError) as error:
        raise _damaged(path / "statistics.json", error) from error
    config = configuration.read(WorldModelConfig, path / "config.yaml")
    hashes = {name: digest for name, (_, digest) in files.items()}
    return Checkpoint(config, tensors.pop("model", {}), tensors.pop("ema"), statistics, provenance, tensors, records, hashes)


def config_text(config: WorldModelConfig) -> str:
    """The configuration as YAML."""
    return yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(config))), sort_keys=False)


def _write_all(folder: Path, checkpoint: Checkpoint) -> None:
    files: dict[str, dict[str, Any]] = {}

    def write(name: str, writer: Callable[[Path], object]) -> None:
        writer(folder / name)
        _flush(folder / name)
        files[name] = {"bytes": (folder / name).stat().st_size, "sha256": _digest(folder / name)}

    write("config.yaml", lambda path: path.write_text(config_text(checkpoint.config), encoding="utf-8"))
    records = {"statistics": {name: part.record() for name, part in checkpoint.statistics.items()}, **checkpoint.records}
    for name, record in records.items():
        text = json.dumps(record, indent=1)
        write(f"{name}.json", lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    trained = {"model": checkpoint.model} if checkpoint.model else {}
    for name, tensors in {**trained, "ema": checkpoint.ema, **checkpoint.tensors}.items():
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write(f"{name}.safetensors", lambda path, plain=plain: save_file(plain, path))  # type: ignore[misc]
    manifest = {"format": FORMAT, **dataclasses.asdict(checkpoint.provenance), "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _flush(folder / MANIFEST)


def _check(path: Path, size: int, digest: str) -> None:
    if not path.is_file():
        raise _damaged(path, "missing")
    if path.stat().st_size != size:
        raise _damaged(path, f"{path.stat().st_size} bytes", f"{size} bytes")
    if _digest(path) != digest:
        raise _damaged(path, "other content than was written")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _steps_of(folder: Path) -> int:
    try:
        return int(_read_manifest(folder).get("step", 0))
    except (CheckpointError, TypeError, ValueError) as error:
        mend = f"copy the checkpoint again, or remove {folder} to take the newest of the others"
        raise CheckpointError(f"{folder / MANIFEST} is damaged", got=getattr(error, "got", error), mend=mend) from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = _read_json(folder / MANIFEST)
    if not isinstance(manifest, dict):
        raise _damaged(folder / MANIFEST, type(manifest).__name__, "a mapping")
    return manifest


def _damaged(path: Path, got: object, allowed: str = "") -> CheckpointError:
    return CheckpointError(
        f"{path} is not part of a whole checkpoint", got=got, allowed=allowed, mend="copy the checkpoint again, or load another"
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """To the disk, before something that counts on it being there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
