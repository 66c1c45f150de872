"""Named goals on disk: a folder each, with the picture and the tokens of the encoder that saw it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wm_core.errors import GoalError, nearest
from wm_core.planning.goal import Goal

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
PICTURE, TOKENS, RECORD = "picture.png", "tokens.safetensors", "goal.json"


class GoalLibrary:
    """All goals below one folder, which several processes may read and write, before those of another that is only read."""

    def __init__(self, folder: Path, shipped: Path | None = None) -> None:
        self.folder, self._folders = folder, (folder,) if shipped is None else (folder, shipped)

    def names(self) -> list[str]:
        """The goals there are."""
        found = {path.parent.name for folder in self._folders for path in folder.glob(f"*/{RECORD}")}
        return sorted(name for name in found if NAME.fullmatch(name))

    def save(self, goal: Goal) -> Path:
        """Keep a goal under its name, in place of an older one, which a fault on the way leaves (a kill too, or aside as .NAME.PID.old)."""
        if not NAME.fullmatch(goal.name):
            raise GoalError("this cannot be the name of a goal", got=goal.name, allowed="1 .. 64 letters, digits, '_' and '-'")
        final, partial = self.folder / goal.name, self.folder / f".{goal.name}.{os.getpid()}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            if not cv2.imwrite(str(partial / PICTURE), cv2.cvtColor(goal.picture, cv2.COLOR_RGB2BGR)):
                raise OSError(f"{PICTURE} was not written")
            tensors = {"latents": goal.latents.contiguous()} | ({} if goal.weights is None else {"weights": goal.weights.contiguous()})
            save_file(tensors, partial / TOKENS)
            record = {"encoder": goal.encoder, "encoder_hash": goal.encoder_hash, "grid": list(goal.grid)}
            (partial / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
            old = self.folder / f".{goal.name}.{os.getpid()}.old"
            if final.exists():
                os.rename(final, old)
            try:
                os.rename(partial, final)
            except OSError:
                if old.exists():
                    os.rename(old, final)
                raise
            shutil.rmtree(old, ignore_errors=True)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise GoalError("the goal cannot be kept", got=error, mend=f"free space or rights under {self.folder}") from error
        return final

    def load(self, name: str) -> Goal:
        """The goal of that name."""
        known = self.names()
        if name not in known:
            allowed = nearest(name, known) if known else "the library is empty"
            raise GoalError("there is no goal of that name", got=name, allowed=allowed, mend="save one first")
        place = next(folder / name for folder in self._folders if (folder / name / RECORD).is_file())
        try:
            record = json.loads((place / RECORD).read_text(encoding="utf-8"))
            tensors = load_file(place / TOKENS)
            picture = cv2.imread(str(place / PICTURE), cv2.IMREAD_COLOR)
            if picture is None:
                raise OSError(f"{PICTURE} cannot be read")
            rows, columns = (int(side) for side in record["grid"])
            latents, weights = tensors["latents"], tensors.get("weights")
            if latents.ndim != 2 or len(latents) != rows * columns or not bool(latents.isfinite().all()):
                raise ValueError(f"latents {tuple(latents.shape)} on a grid of {rows} x {columns}")
            encoder, encoder_hash = str(record["encoder"]), str(record["encoder_hash"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise GoalError(f"the goal '{name}' is damaged", got=repr(error), mend=f"remove {place} and save it again") from error
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)
        return Goal(name, latents, (rows, columns), encoder, encoder_hash, rgb, weights)
