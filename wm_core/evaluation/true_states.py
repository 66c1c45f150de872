"""Where things were in a dataset's frames, as far as its columns tell; only evaluation reads this, never a model.

What counts as the truth of a thing is the column that names NAME.x .. NAME.turn_z. For the tool that is as a rule `observation.state`, and
what this holds is the *commanded* pose, of the embedded arm as of recordings with a guard: the tool in the picture trails it. Where a
recording has no guard it is the measured pose. Objects of the embedded arm are told by the simulator, where they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wm_core.data.reader import DatasetReader
from wm_core.data.table import Table
from wm_core.robot.rotation import Array

TOOL = "tool"
PARTS = ("x", "y", "z", "turn_x", "turn_y", "turn_z")


class TrueStates:
    """Poses of things by name: position (3,) m and rotation vector (3,) rad each; the tool is the first of them."""

    def __init__(self, reader: DatasetReader, places: dict[str, tuple[str, int]]) -> None:
        """`places`: for every thing the column that holds it, and where its six numbers begin there."""
        self.names = tuple(places)
        self.columns = {name: key for name, (key, _) in places.items()}
        self._places = places
        self._table = Table(reader.metadata, [key for key, _ in places.values()])

    def at(self, episode: int, rows: NDArray[np.int64]) -> Array:
        """The poses (T, things, 6) in the rows (T,) of an episode."""
        columns = self._table.episode(episode)
        found = [columns[key][rows, begin : begin + len(PARTS)] for key, begin in self._places.values()]
        return np.stack(found, axis=1).astype(np.float64)


def states_of(reader: DatasetReader) -> TrueStates | None:
    """All things whose pose the dataset tells, under the names NAME.x .. NAME.turn_z; None where the tool is not among them."""
    places: dict[str, tuple[str, int]] = {}
    for key, feature in reader.metadata.features.items():
        names = feature.get("names")
        if feature["dtype"] in ("float32", "float64") and isinstance(names, list):
            for begin, name in enumerate(names):
                thing, _, _ = str(name).partition(".")
                if names[begin : begin + len(PARTS)] == [f"{thing}.{part}" for part in PARTS]:
                    places[thing] = key, begin
    if TOOL not in places:
        return None
    return TrueStates(reader, {TOOL: places.pop(TOOL), **places})
