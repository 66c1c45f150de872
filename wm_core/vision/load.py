"""Any encoder from one word: a published name, or the folder of an embedded one."""

from __future__ import annotations

from pathlib import Path

import torch

from wm_core.errors import VisionError, nearest
from wm_core.vision.embedded import DESCRIPTION, load_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.timm_encoder import MODELS, TimmEncoderConfig, load_timm


def load_encoder(source: str, device: torch.device, precision: torch.dtype = torch.float32) -> FrozenEncoder:
    """`source`: a name such as dinov3_vitb16 (224 pixels, whole picture, weights from the hub), or the folder of an embedded encoder."""
    if source in MODELS:
        return load_timm(TimmEncoderConfig(source, "hub", 224, "stretch"), device, precision)
    folder = Path(source).expanduser()
    if (folder / DESCRIPTION).is_file():
        return load_embedded(folder, device, precision)
    raise VisionError(
        "unknown encoder",
        got=source,
        allowed=f"a folder with {DESCRIPTION}, or one of {', '.join(MODELS)} ({nearest(source, MODELS)})",
        mend="correct the name or the path",
    )
