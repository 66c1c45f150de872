"""How large what enters a model's matrix products becomes: measured on futures it imagines, kept beside the weights it holds for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from wm_core.errors import CheckpointError
from wm_core.world_model.onnx_nodes import Ranges

FILE = "ranges.safetensors"


def merged(parts: list[Ranges]) -> dict[str, NDArray[np.float32]]:
    """The largest of several measurements."""
    names = {name for part in parts for name in part}
    return {name: np.max([part[name] for part in parts if name in part], axis=0) for name in sorted(names)}


def write(folder: Path, ranges: Ranges, weights: str) -> None:
    """Put them beside a checkpoint, with the hash of the weights they hold for, in place of earlier ones."""
    path = folder / FILE
    growing = path.with_name(f".{FILE}.growing")
    save_file(dict(ranges), growing, metadata={"weights": weights})
    os.replace(growing, path)


def read(folder: Path, weights: str) -> dict[str, NDArray[np.float32]] | None:
    """The ranges beside a checkpoint, None where there are none; those of other weights are refused."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            measured = (file.metadata() or {}).get("weights", "")
            ranges = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read", got=error, mend="measure the ranges again") from error
    if measured != weights:
        got, allowed = measured[:12], weights[:12]
        raise CheckpointError(f"{path} was measured with other weights", got=got, allowed=allowed, mend="measure the ranges again")
    if not all(np.isfinite(values).all() and (values >= 0).all() and values.ndim == 1 for values in ranges.values()):
        raise CheckpointError(f"{path} holds ranges that are not", got="values that are negative or not finite")
    return ranges
