"""What was planned from two pictures: a table to read, plan.json, and a strip now .. imagined .. goal."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from wm_core.evaluation.page import table
from wm_core.evaluation.strip import Pictures, write_strip
from wm_core.planning.offline import Outlook
from wm_core.robot.rotation import Array, vector
from wm_core.vision.decoder import Decoder

FILE, STRIP = "plan.json", "plan.png"


def text(found: Outlook, poses: Array) -> str:
    """The plan step by step with the poses (H + 1, 4, 4) it leads through, and what speaks for it."""
    header = ("step", "dx, m", "dy, m", "dz, m", "rx, rad", "ry, rad", "rz, rad", "opening", "then at x, m", "y, m", "z, m")
    rows = [
        (str(number), *(f"{value:+.4f}" for value in action[:6]), f"{action[6]:.2f}", *(f"{value:.3f}" for value in pose[:3, 3]))
        for number, (action, pose) in enumerate(zip(found.plan.actions, poses[1:], strict=True), start=1)
    ]
    terms = ", ".join(f"{name} {value:.4f}" for name, value in found.plan.terms.items())
    doubted = "the model is not calibrated" if found.doubt is None else f"doubt {found.doubt:.2f} of what was calibrated"
    plan = found.plan
    return "\n".join(
        [
            *table(header, rows),
            "Distance to the goal, as a share of that of the picture now:",
            f"  standing still {found.still:.3f}, this plan {found.end:.3f} (spread over noise seeds {found.uncertainty:.3f}; {doubted})",
            f"cost {plan.cost:.4f} ({terms}); {plan.samples} candidates in {plan.iterations} iterations, {1000.0 * plan.seconds:.0f} ms",
        ]
    )


def write(found: Outlook, poses: Array, folder: Path) -> Path:
    """plan.json: actions (H, 7) in m, rad and opening; poses (H + 1, 6) in m and as rotation vectors, base frame."""
    plan = asdict(found.plan) | {"actions": found.plan.actions.tolist()}
    told = {"still": found.still, "end": found.end, "uncertainty": found.uncertainty, "doubt": found.doubt}
    rows = [[*pose[:3, 3].tolist(), *vector(pose[:3, :3]).tolist()] for pose in poses]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text(json.dumps({"plan": plan, "poses": rows, **told}, indent=1, allow_nan=False), encoding="utf-8")
    return path


def draw(decoder: Decoder, now: Tensor, frames: Tensor, goal: Tensor, folder: Path) -> Path:
    """Of tokens now (P, D), imagined (H, P, D) and of the goal (P, D), all as the decoder shows them."""
    ahead = pictures(decoder, frames)
    wanted = np.repeat(pictures(decoder, goal[None]), 1 + len(ahead), axis=0)
    rows = {"imagined": np.concatenate([pictures(decoder, now[None]), ahead]), "goal": wanted}
    write_strip(folder / STRIP, rows, context=1)
    return folder / STRIP


def pictures(decoder: Decoder, tokens: Tensor) -> Pictures:
    """Tokens (T, P, D) as pictures (T, H, W, 3)."""
    return np.ascontiguousarray(decoder.pictures(tokens.to(decoder.average.device)).permute(0, 2, 3, 1).cpu().numpy())
