"""Weights on disk: safetensors only, read whole or refused, written so that a kill leaves the file before or the file after."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wm_core.errors import VisionError


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU."""
    if path.suffix != ".safetensors":
        mend = "convert it once with safetensors.torch.save_file in an environment that trusts the file"
        raise VisionError("weights are read from safetensors files only: a pickle runs code", got=path, allowed="*.safetensors", mend=mend)
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise VisionError("the weights file does not exist", got=path, mend="give the path of a safetensors file") from error
    except (SafetensorError, OSError) as error:
        what = "the weights file is truncated or is not safetensors"
        raise VisionError(what, got=f"{path}: {error}", mend="download or copy it again") from error


def write_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write beside `path`, then move over it: no reader ever sees half a file."""
    partial = path.with_suffix(".partial")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    try:
        save_file(tensors, partial, metadata=dict(metadata or {}))
        os.replace(partial, path)
    except (SafetensorError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise VisionError("the weights cannot be written", got=f"{path}: {error}", mend="free space, or choose another folder") from error


def fill(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put `weights` into `network`; every tensor of both must be in the other, with the same shape."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    other = [f"{name} {given[name]} for {wanted[name]}" for name in wanted.keys() & given.keys() if given[name] != wanted[name]]
    faults = [f"{what}: {_some(names)}" for what, names in (("missing", missing), ("unknown", unknown), ("shape", sorted(other))) if names]
    if faults:
        mend = "check that the file belongs to the encoder that is named"
        raise VisionError(f"{source} does not hold the weights of this network", got="; ".join(faults), mend=mend)
    with torch.no_grad():
        network.load_state_dict(dict(weights))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
