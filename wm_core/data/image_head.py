"""What a sensor_msgs/Image says before its pixels, read without copying those: a recording has a megabyte of them per frame."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from wm_core.data.errors import EpisodeError

IMAGE = "sensor_msgs/msg/Image"


@dataclass(frozen=True)
class ImageHead:
    """`stamp` in s; `length` is that of the pixels that are there, in bytes."""

    stamp: float
    frame: str
    height: int
    width: int
    encoding: str
    step: int
    length: int


def image_head(data: bytes | memoryview) -> ImageHead:
    """From CDR bytes: four that tell the byte order, then the fields, each aligned to its own size from there on."""
    try:
        order, body = "<" if data[1] else ">", memoryview(data)[4:]
        seconds, nanoseconds = struct.unpack_from(f"{order}iI", body, 0)
        frame, at = _text(order, body, 8)
        height, width = struct.unpack_from(f"{order}II", body, at := _aligned(at))
        encoding, at = _text(order, body, at + 8)
        step, promised = struct.unpack_from(f"{order}II", body, at := _aligned(at + 1))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise EpisodeError(f"a message is not the {IMAGE} that it is said to be", got=f"{type(error).__name__}: {error}") from error
    if len(body) < at + 8 + promised:
        raise EpisodeError(f"a message is not the {IMAGE} that it is said to be", got=f"{len(body) - at - 8} bytes of {promised}")
    return ImageHead(seconds + 1e-9 * nanoseconds, frame, height, width, encoding, step, promised)


def _aligned(at: int) -> int:
    return (at + 3) // 4 * 4


def _text(order: str, body: memoryview, at: int) -> tuple[str, int]:
    """The text at a place, and where it ends; its length counts the zero at its end."""
    (length,) = struct.unpack_from(f"{order}I", body, at)
    end = at + 4 + length
    if not 0 < length <= len(body) - at - 4:
        raise IndexError(f"a text of {length} bytes")
    return bytes(body[at + 4 : end - 1]).decode(), end
