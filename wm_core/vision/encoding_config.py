"""How a running system encodes its camera; config/encoder.yaml."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wm_core.configuration import setting
from wm_core.device import DEVICES, PRECISIONS, torch_device


@dataclass(frozen=True)
class EncodingConfig:
    """Which encoder, on what."""

    encoder: str = setting(
        "The encoder: a published name such as dinov3_vitb16, a YAML such as encoder_dinov3.yaml, the folder of an embedded one, "
        "or an ONNX file of `wm export-encoder`; empty: the embedded one that ships"
    )
    transport: str = setting("Which image topic is heard", choices=("raw", "compressed"))
    device: str = setting("Where the encoder runs; auto: a GPU where there is one", choices=DEVICES)
    precision: str = setting("Numbers it computes in", choices=tuple(PRECISIONS))
    threads: int = setting("CPU threads, 0: as many as torch likes", low=0, high=256)

    def torch_device(self) -> torch.device:
        """The device there is."""
        return torch_device(self.device)

    def torch_precision(self) -> torch.dtype:
        """The type of its numbers."""
        return PRECISIONS[self.precision]
