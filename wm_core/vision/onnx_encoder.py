"""Encoders as ONNX files, run by onnxruntime, with the hash of the encoder they were made from.

A file carries the hash of its own bytes too, so that one that was damaged or changed does not pass for that encoder.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from wm_core import configuration
from wm_core.errors import VisionError, nearest
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing, checked
from wm_core.vision.tokens import Grid, Tokens

OPSET = 18
TOLERANCE = 1e-3
SEAL = "sha256"
KEYS = ("name", "weight_hash", "grid", "dim", "preprocessing", SEAL)


class _Graph(nn.Module):
    """What the file holds: pixels (B, 3, size, size) float32 0 .. 255 -> patches, cls. Resizing stays outside: ONNX has no equal of it."""

    def __init__(self, encoder: FrozenEncoder) -> None:
        super().__init__()
        self.backbone, self.preprocessing = encoder.backbone, encoder.preprocessing

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.backbone(self.preprocessing.normalised(pixels))
        return tokens.patches, tokens.cls


def export_onnx(encoder: FrozenEncoder, path: Path) -> None:
    """Write `encoder`, which must be float32, as one ONNX file for any batch size; a file that gives other tokens is not left there."""
    if encoder.precision != torch.float32:
        raise VisionError("only a float32 encoder is exported", got=encoder.precision, allowed="torch.float32", mend="load it as float32")
    if path.suffix != ".onnx":
        raise VisionError("an exported encoder is known by its ending", got=path, allowed="*.onnx", mend="name the file so")
    path.parent.mkdir(parents=True, exist_ok=True)
    _trace(encoder, path)
    model = onnx.load(path)
    described = {
        "name": encoder.name,
        "weight_hash": encoder.weight_hash,
        "grid": json.dumps(encoder.grid),
        "dim": str(encoder.dim),
        "preprocessing": json.dumps(asdict(encoder.preprocessing)),
    }
    onnx.helper.set_model_props(model, described)
    content = model.SerializeToString()
    path.write_bytes(content + _seal(content))
    _compare(encoder, path)


def _seal(content: bytes) -> bytes:
    """What stands behind the `content` of a file: its hash, as an entry of the metadata. One protobuf message behind another adds to it."""
    entry = onnx.StringStringEntryProto(key=SEAL, value=hashlib.sha256(content).hexdigest())
    return onnx.ModelProto(metadata_props=[entry]).SerializeToString()


def _trace(encoder: FrozenEncoder, path: Path) -> None:
    """Write what happens to two pictures: of one, the batch could be folded into the graph as a constant."""
    size = encoder.preprocessing.size
    with warnings.catch_warnings():
        # That a trace might not hold for other inputs is what `_compare` finds out.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Graph(encoder).eval(),
            (torch.zeros(2, 3, size, size, device=encoder.device),),
            str(path),
            dynamo=False,  # the newer exporter needs one package more
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["patches", "cls"],
            dynamic_axes={name: {0: "batch"} for name in ("pixels", "patches", "cls")},
        )


def _compare(encoder: FrozenEncoder, path: Path) -> None:
    """Refuse the file at `path` if its tokens of three pictures of noise are not the encoder's."""
    size = encoder.preprocessing.size
    frames = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted, got = encoder(frames), OnnxEncoder(path)(frames)
    difference = max(float((one.cpu() - other).abs().max()) for one, other in zip(wanted, got, strict=True))
    if not difference <= TOLERANCE:
        path.unlink()
        raise VisionError(f"{encoder.name} cannot be exported: its tokens differ", got=difference, allowed=f"at most {TOLERANCE}")


class OnnxEncoder:
    """An exported encoder, run by onnxruntime; same name, hash and tokens (to 1e-3) as the one it was made from."""

    def __init__(self, path: Path, provider: str = "CPUExecutionProvider", threads: int = 1) -> None:
        _require(provider)
        content = _bytes(path)
        self._session = _session(path, content, provider, threads)
        known = self._session.get_modelmeta().custom_metadata_map
        if missing := [key for key in KEYS if key not in known]:
            raise VisionError(
                "the ONNX file is not an exported encoder", got=f"{path} without {', '.join(missing)}", mend="export it again"
            )
        body = content[: -len(_seal(b""))]
        if content != body + _seal(body):
            raise VisionError("the ONNX file was changed after its export", got=path, mend="export it again, or copy it again")
        self.name, self.weight_hash, self.dim = known["name"], known["weight_hash"], int(known["dim"])
        rows, columns = json.loads(known["grid"])
        self.grid: Grid = (rows, columns)
        self.preprocessing = configuration.build(Preprocessing, json.loads(known["preprocessing"]), source=str(path))
        self.device = torch.device("cpu")

    def __call__(self, frames: Tensor) -> Tokens:
        pixels = self.preprocessing.sized(checked(frames).cpu().float())
        patches, cls = self._session.run(["patches", "cls"], {"pixels": pixels.numpy()})
        return Tokens(torch.from_numpy(patches), torch.from_numpy(cls))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VisionError("the ONNX file cannot be read", got=f"{path}: {error}", mend="correct the path, or export it again") from error


def _require(provider: str) -> None:
    available = onnxruntime.get_available_providers()
    if provider not in available:
        allowed = f"{', '.join(available)} ({nearest(provider, available)})"
        mend = "install onnxruntime-gpu for CUDA, or run on the cpu"
        raise VisionError("onnxruntime has no such provider here", got=provider, allowed=allowed, mend=mend)


def _session(path: Path, content: bytes, provider: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(content, options, providers=[provider])
    except Exception as error:
        raise VisionError("the ONNX file cannot be read", got=f"{path}: {error}", mend="export it again") from error
