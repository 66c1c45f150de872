"""What is done already: a file that names the finished stages of a long command, and with which settings each was begun."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wm_core.errors import WmError

FILE = "stages.json"


@dataclass(frozen=True)
class Stage:
    """`settings` are plain data: all that what it makes depends on, beside the stages before it."""

    name: str
    settings: dict[str, Any]
    run: Callable[[], None]


class StageRecord:
    """stages.json in a folder; it is whole at any moment."""

    def __init__(self, folder: Path, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._say, self._clock = folder / FILE, say, clock
        self._stages: dict[str, dict[str, Any]] = self._read()

    def run(self, stages: list[Stage]) -> dict[str, float]:
        """Run those that have not ended yet, in order; the seconds that each took until it ended, with attempts that failed."""
        for stage in stages:
            self._require_same(stage)
        for number, stage in enumerate(stages, start=1):
            ended = self._stages.get(stage.name, {}).get("seconds")
            if ended is not None:
                self._say(f"[{number}/{len(stages)}] {stage.name}: done before, in {ended:.0f} s")
                continue
            self._say(f"[{number}/{len(stages)}] {stage.name}")
            spent = float(self._stages.get(stage.name, {}).get("spent", 0.0))
            self._write(stage, spent, ended=False)
            begin = self._clock()
            try:
                stage.run()
            except BaseException:
                self._write(stage, spent + self._clock() - begin, ended=False)
                raise
            self._write(stage, spent + self._clock() - begin, ended=True)
            self._say(f"[{number}/{len(stages)}] {stage.name}: {self._stages[stage.name]['seconds']:.0f} s")
        return {stage.name: float(self._stages[stage.name]["seconds"]) for stage in stages}

    def _require_same(self, stage: Stage) -> None:
        before = self._stages.get(stage.name, {}).get("settings")
        now = _plain(stage.settings)
        if before is None or before == now:
            return
        old, new = _flat(before), _flat(now)
        differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        raise WmError(
            f"the stage '{stage.name}' in {self._path.parent} was begun with other settings",
            got=", ".join(f"{name}: {new.get(name, 'none')}" for name in differing[:4]),
            allowed=", ".join(f"{name}: {old.get(name, 'none')}" for name in differing[:4]),
            mend="restore them, or give another --out",
        )

    def _write(self, stage: Stage, spent: float, ended: bool) -> None:
        self._stages[stage.name] = {"settings": _plain(stage.settings), "spent": spent, "seconds": spent if ended else None}
        growing = self._path.with_name(f".{FILE}.growing")
        growing.write_text(json.dumps(self._stages, indent=1), encoding="utf-8")
        os.replace(growing, self._path)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise WmError(f"{self._path} cannot be read", got=error, mend="give another --out") from error
        return dict(found)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return dict(json.loads(json.dumps(settings)))


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings by dotted name."""
    if not isinstance(settings, dict):
        return {prefix.removesuffix("."): settings}
    return {name: value for key, inner in settings.items() for name, value in _flat(inner, f"{prefix}{key}.").items()}
