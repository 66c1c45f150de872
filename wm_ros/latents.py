"""Latent frames between torch and ROS: float16, row by row, with the hash of the encoder they come from."""

from __future__ import annotations

from array import array

import numpy as np
import torch
from builtin_interfaces.msg import Time
from torch import Tensor

from wm_core.errors import WmError
from wm_core.vision.encoder import Encoder
from wm_ros.msg import LatentFrame


class LatentError(WmError):
    """A latent frame that does not hold what it says."""


def latent_message(latents: Tensor, encoder: Encoder, frame: str, stamp: Time) -> LatentFrame:
    """Tokens (P, D) of one picture."""
    rows, columns = encoder.grid
    message = LatentFrame(
        encoder=encoder.name, encoder_hash=encoder.weight_hash, grid_height=rows, grid_width=columns, dim=int(latents.shape[1])
    )
    message.header.frame_id, message.header.stamp = frame, stamp
    data = array("B")
    data.frombytes(latents.detach().cpu().numpy().astype("<f2").tobytes())
    message.data = data
    return message


def latents(message: LatentFrame) -> Tensor:
    """Tokens (P, D) float32; a frame that is empty, truncated or not finite is refused."""
    tokens, dim = message.grid_height * message.grid_width, message.dim
    if not tokens or not dim or len(message.data) != 2 * tokens * dim:
        got = f"{message.grid_height} x {message.grid_width} x {dim}, {len(message.data)} bytes"
        raise LatentError("a latent frame does not hold what it says", got=got, allowed="two bytes for every number of the grid")
    values = np.frombuffer(message.data, dtype="<f2").astype(np.float32).reshape(tokens, dim)
    if not np.isfinite(values).all():
        raise LatentError("a latent frame is not finite", got=f"{int((~np.isfinite(values)).sum())} numbers", mend="check the encoder")
    return torch.from_numpy(values)
