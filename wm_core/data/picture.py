"""Pictures out of camera messages, without cv_bridge: one small table of encodings.

OpenCV is imported where it is used: the recorder, which starts in a second, keeps bytes and needs none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.errors import WmError

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
"""(H, W): which pixels count."""
BRIGHT = 128
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
TO_RGB = {"bgr8": "COLOR_BGR2RGB", "rgba8": "COLOR_RGBA2RGB", "bgra8": "COLOR_BGRA2RGB", "mono8": "COLOR_GRAY2RGB"}  # names in OpenCV


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


def given(message: Any) -> bool:
    """Whether a sensor_msgs/Image says that it is there, be it wrongly."""
    return bool(message.data) or bool(message.width or message.height or message.encoding)


def mask(message: Any) -> Mask | None:
    """Which pixels of a mono8 sensor_msgs/Image are bright; None where it is not given."""
    if not given(message):
        return None
    if message.encoding != "mono8":
        raise ImageError("a mask of another encoding", got=repr(message.encoding), allowed="mono8: bright is what counts")
    return bright(picture(message)[..., 0])


def bright(pixels: Picture) -> Mask:
    """Grey values (H, W) as a mask."""
    return pixels >= BRIGHT


def picture(message: Any) -> Picture:
    """The picture of a sensor_msgs/Image as RGB (H, W, 3) uint8; an empty, truncated or unknown one is refused."""
    height, width = size(message.encoding, message.height, message.width, message.step, len(message.data))
    channels, step = CHANNELS[message.encoding], message.step
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(height, step)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)
    if message.encoding == "rgb8":
        return pixels.copy()
    import cv2

    return np.asarray(cv2.cvtColor(pixels, getattr(cv2, TO_RGB[message.encoding])), dtype=np.uint8)


def compressed_picture(message: Any) -> Picture:
    """The picture of a sensor_msgs/CompressedImage, JPEG or PNG, as RGB (H, W, 3) uint8."""
    import cv2

    data = np.frombuffer(message.data, dtype=np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise ImageError("compressed image that cannot be decoded", got=f"{data.size} bytes, {message.format!r}", allowed="JPEG or PNG")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)
