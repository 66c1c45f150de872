"""Frames of video files, exactly those that were asked for, from containers that stay open."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from wm_core.data.errors import EpisodeError

Frames = NDArray[np.uint8]
OPEN_FILES = 16
FIRST_GUESS_OF_GROUP = 12  # frames between key frames, until more are seen

av.logging.set_libav_level(av.logging.ERROR)  # a decoder's remarks on files that are in order


class VideoFile:
    """One open video. A frame is found by its own time stamp, never by counting; going forward a little decodes on instead of seeking."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise EpisodeError("a video cannot be opened", got=f"{path.name}: {error}") from error
        # A decoder would rather guess a damaged picture than refuse it; a guess is a wrong number.
        self._stream.codec_context.options = {"err_detect": "bitstream+buffer+explode"}
        self._stream.codec_context.thread_count = 1  # one core per worker; more threads delay frames and gain nothing on short clips
        self._base: Fraction = self._stream.time_base or Fraction(1, 1000)
        self._reformatter = VideoReformatter()
        self._decoder: Iterator[Any] | None = None
        self._current: Any = None
        self._longest_group = 0  # frames between two key frames, of those decoded so far
        self._since_key: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self._stream.codec_context.height, self._stream.codec_context.width

    @property
    def frame_count(self) -> int:
        """As the container says; 0 where it does not."""
        return int(self._stream.frames)

    def frames(self, times: Sequence[float], period: float) -> Frames:
        """The frames (T, H, W, 3) whose time stamps are nearest `times` (s, growing), none further off than a quarter of `period`."""
        return np.stack([self._picture(time, period) for time in times])

    def close(self) -> None:
        self._container.close()

    def _picture(self, time: float, period: float) -> Frames:
        tick = period / float(self._base)
        wanted, slack = time / float(self._base), 0.25 * tick
        try:
            frame = self._find(wanted, slack, tick)
        except av.error.FFmpegError as error:
            self._decoder = None
            raise EpisodeError("a video cannot be decoded", got=f"{self._path.name} at {time:.3f} s: {error}") from error
        if frame is None or abs(frame.pts - wanted) > slack:
            got = "its end" if frame is None else f"the next frame at {float(frame.pts * self._base):.3f} s"
            raise EpisodeError(
                "a video lacks a frame", got=f"{self._path.name} at {time:.3f} s: {got}", allowed=f"within {0.25 * period:.3f} s"
            )
        if frame.is_corrupt:
            raise EpisodeError("a frame is corrupt", got=f"{self._path.name} at {time:.3f} s")
        return np.asarray(self._reformatter.reformat(frame, format="rgb24").to_ndarray(), dtype=np.uint8)

    def _find(self, wanted: float, slack: float, tick: float) -> Any:
        """The first frame not earlier than `wanted` (ticks of the stream), or None at the end."""
        here = self._current
        if here is not None and abs(here.pts - wanted) <= slack:
            return here
        if here is None or self._decoder is None or here.pts > wanted or wanted - here.pts > self._group() * tick:
            return self._seek(wanted, slack, tick)
        return self._decode_to(wanted - slack)

    def _seek(self, wanted: float, slack: float, tick: float) -> Any:
        """Seek to a key frame before; where the container's index lands too late, further and further back."""
        for back in (0.0, 1.0, 8.0, 64.0, 512.0, np.inf):
            start = max(0, round(wanted - back * tick)) if np.isfinite(back) else 0
            self._container.seek(start, backward=True, any_frame=False, stream=self._stream)
            self._decoder = self._container.decode(self._stream)
            self._since_key = None
            frame = self._decode_to(wanted - slack, first=True)
            if start == 0 or (frame is not None and frame.pts <= wanted + slack):
                return frame
        return None

    def _decode_to(self, earliest: float, first: bool = False) -> Any:
        assert self._decoder is not None
        for frame in self._decoder:
            self._count(frame.key_frame)
            if frame.pts is not None and frame.pts >= earliest:
                self._current = frame
                return frame
        self._decoder, self._current = None, None
        return None

    def _count(self, key_frame: bool) -> None:
        if key_frame and self._since_key is not None:
            self._longest_group = max(self._longest_group, self._since_key + 1)
        self._since_key = 0 if key_frame else (self._since_key or 0) + 1

    def _group(self) -> int:
        """Further ahead than this many frames a seek is the shorter way: between here and there lies a key frame."""
        return self._longest_group or max(FIRST_GUESS_OF_GROUP, (self._since_key or 0) + 1)


class VideoFiles:
    """The files that were used last, kept open; every process opens its own, for a shared one would jump under the other's feet."""

    def __init__(self, most: int = OPEN_FILES) -> None:
        self._most = most
        self._owner = os.getpid()
        self._open: OrderedDict[Path, VideoFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"_most": self._most, "_owner": -1, "_open": OrderedDict()}

    def __getitem__(self, path: Path) -> VideoFile:
        if os.getpid() != self._owner:
            self._owner, self._open = os.getpid(), OrderedDict()
        if path not in self._open:
            while len(self._open) >= self._most:
                self._open.popitem(last=False)[1].close()
            self._open[path] = VideoFile(path)
        self._open.move_to_end(path)
        return self._open[path]
