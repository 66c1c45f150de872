"""What an evaluation leaves beside the weights that it was made of: bands and verdict, which hold together or not at all."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from wm_core.evaluation import verdict
from wm_core.evaluation.results import Evaluation
from wm_core.world_model import calibration


def keep(place: Path, result: Evaluation) -> None:
    """Put bands and verdict beside the weights that they hold for, in place of earlier ones.

    Both are written aside first: a disk that fills leaves the earlier pair. The earlier verdict goes before the bands change: a kill
    leaves weights that were never judged, and not a verdict that rests on other bands.
    """
    judged, bands = place / verdict.FILE, place / calibration.FILE
    aside = place / ".judged"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        calibration.write(aside, result.calibration.calibration if result.calibration else None)
        record = {"weights": result.weights, **asdict(result.verdict)}
        (aside / verdict.FILE).write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
        judged.unlink(missing_ok=True)
        if result.calibration:
            os.replace(aside / calibration.FILE, bands)
        else:
            bands.unlink(missing_ok=True)
        os.replace(aside / verdict.FILE, judged)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
