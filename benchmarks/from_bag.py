"""How many times faster than it was recorded a bag becomes an episode: two cameras of 640x480 at 30 Hz, joints at 100 Hz, without ROS.

    python benchmarks/from_bag.py FOLDER [--seconds 20] [--quality 12] [--preset ultrafast] [--chroma yuv444p] [--compression zstd]

The pictures are smooth, move, and carry the noise of a sensor, because pictures without it are coded faster than a camera's are. Ends with
a status other than 0 below the bar of 3. The import of the lerobot package, ten seconds that are paid once, is told apart.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from mcap.writer import CompressionType

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "test" / "data")]

from recordings import LABELS, START, contract, messages, photograph  # noqa: E402

from wm_core.data.export import from_bag  # noqa: E402
from wm_core.data.heard import Heard  # noqa: E402
from wm_core.data.message_types import encoded  # noqa: E402
from wm_core.data.recording_config import CAMERA, TYPES  # noqa: E402
from wm_core.data.to_bag import BagWriter  # noqa: E402

RATE, SIZE, BAR = 30, (480, 640), 3.0


def scene(camera):
    """A still background of this camera, (H, W, 3) uint8."""
    small = np.random.default_rng(camera).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def image(background, noise, number):
    """What the camera sees at a frame: something passes before the background."""
    pixels = np.roll(noise, 7919 * number).reshape(background.shape) + background
    left = 4 * number % (SIZE[1] - 80)
    pixels[200:280, left : left + 80] = (40, 160, 90)
    return photograph(np.clip(pixels, 0, 255).astype(np.uint8), START + number / RATE)


def heard(seconds):
    """All messages in the order of their stamps."""
    others = iter([one for one in messages(seconds) if "camera" not in one.topic])
    noise = np.random.default_rng(0).normal(0.0, 2.0, (*SIZE, 3)).astype(np.int16)
    scenes, waiting = [scene(0), scene(1)], next(others, None)
    for number in range(round(seconds * RATE)):
        now = START + number / RATE
        while waiting is not None and waiting.received < now:
            yield waiting
            waiting = next(others, None)
        for topic, background in zip(("front", "side"), scenes, strict=True):
            yield Heard(f"/camera/{topic}/image_raw", TYPES[CAMERA][0], now, encoded(image(background, noise, number), TYPES[CAMERA][0]))


def agreed(**video_settings):
    """The shipped contract with two fast cameras."""
    streams, video = contract().config.streams, contract().config.video
    front = replace(streams[0], rate=float(RATE), age=0.1)
    return contract(
        fps=RATE,
        video=replace(video, **video_settings),
        streams=(front, replace(front, name="side", topic="camera/side/image_raw"), *streams[1:]),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--quality", type=int, default=contract().config.video.quality)
    parser.add_argument("--preset", default=contract().config.video.preset)
    parser.add_argument("--compression", choices=("zstd", "none"), default="zstd", help="of the bag's chunks")
    parser.add_argument("--chroma", default=contract().config.video.chroma)
    arguments = parser.parse_args()
    bag = arguments.folder / "fast.mcap"
    with BagWriter(bag, CompressionType[arguments.compression.upper()]) as writer:
        for one in heard(arguments.seconds):
            writer.write(one, one.received)
    began = time.monotonic()
    import lerobot.datasets  # noqa: F401

    imported, busy = time.monotonic(), time.process_time()
    from_bag(
        bag, agreed(quality=arguments.quality, preset=arguments.preset, chroma=arguments.chroma), LABELS, arguments.folder / "set", print
    )
    took, busy = time.monotonic() - imported, time.process_time() - busy
    print(f"import {imported - began:.1f} s; {arguments.seconds:g} s of bag in {took:.1f} s ({busy:.1f} s of a core)")
    print(f"{arguments.seconds / took:.2f} x real time; {2.0 * arguments.seconds / busy:.2f} x on two cores that nobody else uses")
    sys.exit(arguments.seconds / took < BAR)


if __name__ == "__main__":
    main()
