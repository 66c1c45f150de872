"""Pictures out of camera messages, without cv_bridge: one small table of encodings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.errors import WmError

Picture = NDArray[np.uint8]
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
RGB = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2], "bgra8": [2, 1, 0], "mono8": [0, 0, 0]}  # where each channel stands


class ImageError(WmError):
    """An image message that holds no usable picture."""


def size(encoding: str, height: int, width: int, step: int, length: int) -> tuple[int, int]:
    """Rows and columns of a sensor_msgs/Image of so many bytes; an empty, truncated or unknown one is refused."""
    channels = CHANNELS.get(encoding)
    if channels is None:
        raise ImageError("image of an unknown encoding", got=repr(encoding), allowed=", ".join(CHANNELS), mend="convert it first")
    if width == 0 or height == 0 or step < width * channels or length != step * height:
        got = f"{width} x {height}, step {step}, {length} bytes"
        raise ImageError(
            "image that is empty or does not hold what it says", got=got, allowed="step * height bytes, step >= width * channels"
        )
    return height, width


def picture(message: Any) -> Picture:
    """The picture of a sensor_msgs/Image as RGB (H, W, 3) uint8; an empty, truncated or unknown one is refused."""
    height, width = size(message.encoding, message.height, message.width, message.step, len(message.data))
    channels, step = CHANNELS[message.encoding], message.step
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(height, step)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)
    return pixels.copy() if message.encoding == "rgb8" else np.ascontiguousarray(pixels[..., RGB[message.encoding]])


def compressed_picture(message: Any) -> Picture:
    """The picture of a sensor_msgs/CompressedImage, JPEG or PNG, as RGB (H, W, 3) uint8."""
    import cv2  # here, because it costs the recorder's start 0.15 s

    data = np.frombuffer(message.data, dtype=np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise ImageError("compressed image that cannot be decoded", got=f"{data.size} bytes, {message.format!r}", allowed="JPEG or PNG")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)
