"""The pictures of one camera of a recording, read from the file as they are asked for: an hour of them never is in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from wm_core.data.errors import EpisodeError
from wm_core.data.heard import Heard
from wm_core.data.image_head import image_head
from wm_core.data.picture import Picture, compressed_picture, picture, size

Messages = Callable[[Collection[str]], Iterator[Heard]]
COMPRESSED = "sensor_msgs/msg/CompressedImage"
AHEAD = 64  # messages of one camera that are kept for it while another's are asked for


def picture_of(heard: Heard) -> Picture:
    """RGB (H, W, 3) of a camera's message."""
    return compressed_picture(heard.message) if heard.kind == COMPRESSED else picture(heard.message)


def size_of(kind: str, data: bytes) -> tuple[int, int]:
    """Rows and columns of the picture in the bytes of a camera's message."""
    return shown_size(Heard("", kind, 0.0, data))


def shown_size(heard: Heard) -> tuple[int, int]:
    """Rows and columns of the picture in a camera's message; what holds no picture is refused."""
    if heard.kind != COMPRESSED:
        head = image_head(heard.data)
        return size(head.encoding, head.height, head.width, head.step, head.length)
    rows, columns, _ = picture_of(heard).shape
    return rows, columns


class Reel:
    """One reading of a file for several cameras whose pictures are asked for side by side; one that falls far behind reads by itself."""

    def __init__(self, messages: Messages, topics: Collection[str]) -> None:
        self._messages, self._stream = messages, messages(topics)
        self._kept: dict[str, deque[Heard]] = {topic: deque() for topic in topics}

    def follow(self, topic: str) -> Iterator[Heard]:
        """The messages of a camera from the first on; to be asked for once for each."""
        given = 0
        while (kept := self._kept.get(topic)) is not None:
            if kept:
                given += 1
                yield kept.popleft()
            elif (heard := next(self._stream, None)) is not None:
                self._keep(heard)
            else:
                return
        yield from islice(self._messages([topic]), given, None)

    def _keep(self, heard: Heard) -> None:
        kept = self._kept.get(heard.topic)
        if kept is None:
            return
        kept.append(heard)
        if len(kept) > AHEAD:
            del self._kept[heard.topic]


class Footage:
    """Pictures (T, H, W, 3) uint8, row by row in order; `chosen` (T,) says which message of the topic each row shows, and never falls."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, messages: Messages, reel: Reel, topic: str, chosen: NDArray[np.int64], shape: tuple[int, int]) -> None:
        """The first reading is that of `reel`; who goes back reads `messages` from their beginning."""
        self.shape = (len(chosen), *shape, 3)
        self._chosen, self._topic, self._messages = chosen, topic, messages
        self._shown: Picture = np.zeros(self.shape[1:], np.uint8)
        self._stream, self._at = reel.follow(topic), -1

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, row: int) -> Picture:
        wanted = int(self._chosen[row])
        if wanted < self._at:
            self._stream, self._at = self._messages([self._topic]), -1
        while self._at < wanted:
            heard = next(self._stream, None)
            if heard is None:
                raise EpisodeError(f"{self._topic} has fewer messages than before", got=self._at + 1, allowed=f"more than {wanted}")
            self._at += 1
            if self._at == wanted:
                self._shown = picture_of(heard)
        return self._shown
