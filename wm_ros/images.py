"""Camera messages from arrays and back, without cv_bridge: one small table of encodings."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from wm_core.errors import WmError

Picture = NDArray[np.uint8]
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
TO_RGB = {"bgr8": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_RGBA2RGB, "bgra8": cv2.COLOR_BGRA2RGB, "mono8": cv2.COLOR_GRAY2RGB}
JPEG_QUALITY = 90


class ImageError(WmError):
    """An image message that holds no usable picture."""


def image_message(picture: Picture, frame: str, stamp: Time) -> Image:
    """RGB (H, W, 3) uint8 as an rgb8 image."""
    height, width, _ = picture.shape
    message = Image(height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width)
    message.header.frame_id, message.header.stamp = frame, stamp
    # An array of bytes is what rclpy takes without looking at every element.
    data = array("B")
    data.frombytes(np.ascontiguousarray(picture).tobytes())
    message.data = data
    return message


def compressed_message(picture: Picture, frame: str, stamp: Time) -> CompressedImage:
    """RGB (H, W, 3) uint8 as JPEG."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ImageError("the picture could not be encoded as JPEG", got=picture.shape)
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.frame_id, message.header.stamp = frame, stamp
    data = array("B")
    data.frombytes(encoded.tobytes())
    message.data = data
    return message


def picture(message: Image) -> Picture:
    """The picture of a message as RGB (H, W, 3) uint8; an empty, truncated or unknown one is refused."""
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise ImageError("image of an unknown encoding", got=repr(message.encoding), allowed=", ".join(CHANNELS), mend="convert it first")
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0 or step < width * channels or len(message.data) != step * height:
        got = f"{width} x {height}, step {step}, {len(message.data)} bytes"
        raise ImageError(
            "image that is empty or does not hold what it says", got=got, allowed="step * height bytes, step >= width * channels"
        )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(height, step)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)
    return pixels.copy() if message.encoding == "rgb8" else np.asarray(cv2.cvtColor(pixels, TO_RGB[message.encoding]), dtype=np.uint8)


def compressed_picture(message: CompressedImage) -> Picture:
    """The picture of a JPEG or PNG message as RGB (H, W, 3) uint8."""
    data = np.frombuffer(message.data, dtype=np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise ImageError("compressed image that cannot be decoded", got=f"{data.size} bytes, {message.format!r}", allowed="JPEG or PNG")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def camera_info(width: int, height: int, matrix: NDArray[np.float64], frame: str, stamp: Time) -> CameraInfo:
    """A pinhole camera without distortion; matrix (3, 3) in pixels."""
    k = [float(value) for value in matrix.reshape(-1)]
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5, k=k)
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0]
    message.header.frame_id, message.header.stamp = frame, stamp
    return message
