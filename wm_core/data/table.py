"""Rows of a dataset's parquet files: the columns of one episode, from row groups that stay in memory for a while."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wm_core.data.errors import EpisodeError
from wm_core.data.metadata import Metadata

Columns = dict[str, NDArray[Any]]
ROWS_KEPT = 1_000_000
INDICES = ("episode_index", "frame_index", "timestamp")


class Table:
    """The columns `keys`, with what tells which row is which, episode by episode."""

    def __init__(self, metadata: Metadata, keys: list[str]) -> None:
        self._metadata = metadata
        self._keys = [*dict.fromkeys([*keys, *INDICES])]
        for key in self._keys:
            metadata.feature(key)
        self._bounds: dict[Path, NDArray[np.int64]] = {}
        self._footers: dict[Path, pq.FileMetaData] = {}  # one row group per episode: parsing it again for each costs more than its rows
        self._groups: OrderedDict[tuple[Path, int], Columns] = OrderedDict()
        self._rows_kept = 0

    def episode(self, episode: int) -> Columns:
        """Every column of an episode, (L, n) for numbers and (L,) for words; refused when the rows are not those of the episode."""
        metadata = self._metadata
        path = metadata.data_file_of(episode)
        start = int(metadata.first[episode]) - metadata.first_row_of_file(episode)
        columns = self._rows(path, start, start + int(metadata.length[episode]))
        rows = len(columns["frame_index"])
        right = rows == metadata.length[episode] and np.all(columns["episode_index"] == episode)
        if not right or not np.array_equal(columns["frame_index"].ravel(), np.arange(rows)):
            raise EpisodeError(
                f"{path.name} does not hold the rows of episode {episode}", got=f"{rows} rows", allowed=f"{metadata.length[episode]}"
            )
        return columns

    def _rows(self, path: Path, start: int, end: int) -> Columns:
        bounds = self._row_bounds(path)
        first, last = int(np.searchsorted(bounds, start, side="right")) - 1, int(np.searchsorted(bounds, end, side="left"))
        groups = range(first, min(last, len(bounds) - 1))
        if not groups:
            raise EpisodeError(f"{path.name} ends too early", got=f"{bounds[-1]} rows", allowed=f"at least {end}")
        parts = [self._group(path, group) for group in groups]
        offset = start - int(bounds[first])
        joined = {key: parts[0][key] if len(parts) == 1 else np.concatenate([part[key] for part in parts]) for key in self._keys}
        return {key: values[offset : offset + end - start].copy() for key, values in joined.items()}

    def _row_bounds(self, path: Path) -> NDArray[np.int64]:
        """The first row of every row group of a file, and its end."""
        if path not in self._bounds:
            try:
                meta = pq.read_metadata(path)
            except (OSError, pa.ArrowException) as error:
                raise EpisodeError("a table cannot be read", got=f"{path.name}: {str(error).splitlines()[0]}") from error
            self._footers[path] = meta
            counts = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
            self._bounds[path] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return self._bounds[path]

    def _group(self, path: Path, group: int) -> Columns:
        key = (path, group)
        if key not in self._groups:
            try:
                with pq.ParquetFile(path, metadata=self._footers[path]) as file:
                    table = file.read_row_group(group, columns=self._keys, use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise EpisodeError("a table cannot be read", got=f"{path.name}: {str(error).splitlines()[0]}") from error
            absent = [name for name in self._keys if name not in table.column_names]
            if absent:
                raise EpisodeError("a table lacks columns that meta/info.json names", got=f"{path.name} without {', '.join(absent)}")
            columns = {name: _array(table[name], name, self._metadata.width(name)) for name in self._keys}
            while self._groups and self._rows_kept + table.num_rows > ROWS_KEPT:
                self._rows_kept -= len(self._groups.popitem(last=False)[1]["frame_index"])
            self._rows_kept += table.num_rows
            self._groups[key] = columns
        self._groups.move_to_end(key)
        return self._groups[key]


def _array(column: pa.ChunkedArray, name: str, width: int) -> NDArray[Any]:
    """Words as (L,) objects, numbers as (L, width); a column with holes, of uneven or of another width is refused."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    rows = len(column)
    values = column.combine_chunks()
    while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type) or pa.types.is_large_list(values.type):
        if values.null_count:
            raise EpisodeError(f"column {name} has holes", got=f"{values.null_count} rows without a value")
        # Rows of 6 and 8 numbers are together as long as rows of 7, and would be read with every number out of place.
        lengths = pc.list_value_length(values).to_numpy()
        if len(lengths) and lengths.min() != lengths.max():
            raise EpisodeError(f"column {name} has rows of different width", got=f"{lengths.min()} .. {lengths.max()} numbers")
        values = values.flatten()
    if values.null_count:
        raise EpisodeError(f"column {name} has holes", got=f"{values.null_count} numbers in {rows} rows are missing")
    if len(values) != rows * width:
        got = f"{len(values) // max(rows, 1)} numbers"
        raise EpisodeError(f"column {name} is not as wide as meta/info.json says", got=got, allowed=str(width))
    return values.to_numpy(zero_copy_only=False).reshape(rows, width)
