"""What an episode's task is, in all places where LeRobot v3 keeps it: the rows, the table of episodes, the list of tasks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wm_core.data import metadata
from wm_core.data.errors import DatasetError
from wm_core.data.journal import write_whole

if TYPE_CHECKING:
    import pyarrow as pa


def set_task(root: Path, index: int, task: str) -> None:
    """Give an episode another task, in a dataset that nobody reads yet; tables may be hard links, and are replaced."""
    import pyarrow as pa  # not where the recorder, which writes nothing here, would wait for it
    import pyarrow.parquet as pq

    number, known = _number(root, task), metadata.load(root)
    data = known.data_file_of(index)
    table = pq.read_table(data)
    rows = zip(table["episode_index"].to_pylist(), table["task_index"].to_pylist(), strict=True)
    _put(data, table, "task_index", pa.array([number if episode == index else old for episode, old in rows]))
    for file in sorted((root / "meta" / "episodes").glob("*/*.parquet")):
        table = pq.read_table(file)
        if index in table["episode_index"].to_pylist():
            episodes = zip(table["episode_index"].to_pylist(), table["tasks"].to_pylist(), strict=True)
            _put(file, table, "tasks", pa.array([[task] if episode == index else old for episode, old in episodes]))


def _number(root: Path, task: str) -> int:
    """Of a task in the list, to which it is added if it is new."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, place = root / "meta" / "tasks.parquet", root / "meta" / "info.json"
    try:
        table = pq.read_table(path)
        known = dict(zip(table["task"].to_pylist(), table["task_index"].to_pylist(), strict=True))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DatasetError(f"{path}, the list of tasks, cannot be read", got=error) from error
    if task not in known:
        known[task] = len(known)
        row = pa.table({"task": [task], "task_index": [known[task]]}).select(table.column_names).cast(table.schema)
        _write(path, pa.concat_tables([table, row]))
        write_whole(place, json.loads(place.read_text(encoding="utf-8")) | {"total_tasks": len(known)})
    return int(known[task])


def _put(path: Path, table: pa.Table, name: str, column: pa.Array) -> None:
    place = table.schema.get_field_index(name)
    field = table.schema.field(place)
    _write(path, table.set_column(place, field, column.cast(field.type)))


def _write(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    growing = path.with_suffix(".growing")
    pq.write_table(table, growing)
    os.replace(growing, path)
