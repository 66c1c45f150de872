"""Tokens of one episode in a file: every channel scaled to 8 or 16 bits by its own smallest and largest value, readable row by row."""

from __future__ import annotations

import os
import struct
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.data.errors import CacheError

MAGIC = b"WMTOKENS"
HEADER = struct.Struct("<8sIIII")  # magic, rows T, tokens P, channels D, bits
TYPES: dict[int, np.dtype[Any]] = {8: np.dtype("<u1"), 16: np.dtype("<u2")}


def file_size(rows: int, tokens: int, channels: int, bits: int) -> int:
    """Bytes of a file."""
    return HEADER.size + 2 * 4 * channels + rows * tokens * channels * TYPES[bits].itemsize


def write(path: Path, values: NDArray[np.float32], bits: int) -> None:
    """Tokens (T, P, D) to a file that is there whole or not at all, whoever else is writing it."""
    if not np.isfinite(values).all():
        raise CacheError("a token is not a number", got=path.name, mend="look at what the encoder makes of this episode")
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    levels = 2**bits - 1
    step = ((high.astype(np.float64) - low) / levels).astype(np.float32)
    step[step < np.finfo(np.float32).tiny] = 1.0
    numbers = np.clip(np.rint((values - low) / step), 0, levels).astype(TYPES[bits])
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        with growing.open("wb") as file:
            file.write(HEADER.pack(MAGIC, *values.shape, bits))
            file.write(low.astype("<f4").tobytes() + step.astype("<f4").tobytes())
            file.write(numbers.tobytes())
            file.flush()
            os.fsync(file.fileno())
        growing.replace(path)
    except OSError as error:
        growing.unlink(missing_ok=True)
        got = f"{error.strerror}: {path}"
        raise CacheError(
            "the token cache cannot be written", got=got, mend="make room on the disk, or place the cache elsewhere"
        ) from error


def read(path: Path, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The tokens (len(rows), P, D) of some rows."""
    try:
        with path.open("rb") as file:
            magic, count, tokens, channels, bits = HEADER.unpack(file.read(HEADER.size))
            scales = np.frombuffer(file.read(8 * channels), dtype="<f4")
        right = magic == MAGIC and bits in TYPES and path.stat().st_size == file_size(count, tokens, channels, bits)
    except (OSError, struct.error) as error:
        raise CacheError(
            "a file of the token cache cannot be read", got=f"{path}: {error}", mend="delete it; it will be made anew"
        ) from error
    if not right:
        raise CacheError("a file of the token cache is damaged", got=path, mend="delete it; it will be made anew")
    if len(rows) and (rows.min() < 0 or rows.max() >= count):
        raise CacheError("the token cache has no such row", got=rows.tolist(), allowed=f"0 .. {count - 1} in {path.name}")
    start = HEADER.size + 8 * channels
    numbers = np.memmap(path, dtype=TYPES[bits], mode="r", offset=start, shape=(count, tokens, channels))
    low, step = scales[:channels], scales[channels:]
    return np.asarray(numbers[rows], dtype=np.float32) * step + low
