"""Camera messages from arrays; the way back is wm_core.data.picture."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from wm_core.data.picture import ImageError, Mask, Picture, compressed_picture, given, mask, picture

JPEG_QUALITY = 90
__all__ = [
    "ImageError",
    "Mask",
    "Picture",
    "camera_info",
    "compressed_message",
    "compressed_picture",
    "given",
    "image_message",
    "mask",
    "picture",
]


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


def camera_info(width: int, height: int, matrix: NDArray[np.float64], frame: str, stamp: Time) -> CameraInfo:
    """A pinhole camera without distortion; matrix (3, 3) in pixels."""
    k = [float(value) for value in matrix.reshape(-1)]
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5, k=k)
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0]
    message.header.frame_id, message.header.stamp = frame, stamp
    return message
