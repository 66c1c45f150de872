"""Any encoder from one word: a published name, a YAML that describes one, the folder of an embedded one, or an exported file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from wm_core import configuration
from wm_core.errors import VisionError, nearest
from wm_core.vision.embedded import DESCRIPTION, load_embedded
from wm_core.vision.encoder import Encoder
from wm_core.vision.timm_encoder import MODELS, TimmEncoderConfig, load_timm

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Kind of a torch device -> what onnxruntime calls it."""


def load_encoder(source: str, device: torch.device, precision: torch.dtype = torch.float32) -> Encoder:
    """The encoder that `source` names; it is one of these.

    A name such as dinov3_vitb16: 224 pixels, the whole picture, weights from the hub.
    A YAML such as config/encoder_dinov3.yaml, which says these three; a relative path of the weights begins at it.
    The folder of an embedded encoder.
    An ONNX file that `wm export-encoder` wrote.
    """
    if source in MODELS:
        return load_timm(TimmEncoderConfig(source, "hub", 224, "stretch"), device, precision)
    path = Path(source).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return load_timm(_described(path), device, precision)
    if path.suffix == ".onnx":
        return _exported(path, device, precision)
    if (path / DESCRIPTION).is_file():
        return load_embedded(path, device, precision)
    raise VisionError(
        "unknown encoder",
        got=source,
        allowed=f"a YAML such as config/encoder_dinov3.yaml, an exported *.onnx, a folder with {DESCRIPTION}, "
        f"or a published name ({nearest(source, MODELS)})",
        mend="correct the name or the path; weights of your own are named in a YAML",
    )


def _described(path: Path) -> TimmEncoderConfig:
    config = configuration.read(TimmEncoderConfig, path)
    return config if config.weights == "hub" else replace(config, weights=str(path.parent / Path(config.weights).expanduser()))


def _exported(path: Path, device: torch.device, precision: torch.dtype) -> Encoder:
    from wm_core.vision.onnx_encoder import OnnxEncoder  # for whom no file is exported, onnx need not be imported

    if precision != torch.float32:
        mend = "set precision: fp32, or give the encoder that the file was exported from"
        raise VisionError("an exported encoder computes in float32", got=precision, allowed="torch.float32", mend=mend)
    return OnnxEncoder(path, PROVIDERS[device.type], torch.get_num_threads())
