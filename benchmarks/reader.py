"""Reader: clips a second on one core from a large file, and no wrong frame against the `lerobot` package over many random clips.

    python benchmarks/reader.py --work out/reader [--clips 10000] [--minutes 20]

The speed bar: 100 clips a second per core, each 8 frames of 180x320 from a random place of one large file. Rates are of processor time, so
that a machine with other work gives the same answer. The datasets are made once in --work and used again: about ten minutes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from wm_core.data.clip import ClipRequest
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.episode import Episode
from wm_core.data.lerobot_writer import DatasetWriter, Layout, VideoSettings
from wm_core.data.reader import DatasetReader

SIZE, FPS = (180, 320), 15
KEY = "observation.images.front"
# As the lerobot package encodes by default, which is how DROID 1.0.1 is stored.
VIDEO = VideoSettings(codec="libsvtav1", quality=30, chroma="yuv420p", key_frame_every=2, file_size=500.0)


def scene(generator: np.random.Generator, rows: int, size: tuple[int, int]) -> np.ndarray:
    """Textured pictures (T, H, W, 3) with something moving through them and the row's number written into blocks of black and white."""
    height, width = size
    base = np.kron(generator.integers(60, 200, (height // 12 + 1, width // 12 + 1, 3)), np.ones((12, 12, 1)))[:height, :width]
    frames = np.empty((rows, height, width, 3), dtype=np.uint8)
    place, speed = generator.uniform(0, width, 2), generator.uniform(-4, 4, 2)
    for row in range(rows):
        frames[row] = np.clip(base + generator.normal(0, 3, (height, width, 1)), 0, 255)
        x, y = int(place[0] + row * speed[0]) % (width - 30), int(place[1] + row * speed[1]) % (height - 30)
        frames[row, y : y + 30, x : x + 30] = (220, 30, 40)
        for bit in range(12):
            frames[row, :8, 8 * bit : 8 * bit + 8] = 255 * (row >> bit & 1)
    return frames


def make(root: Path, episodes: int, rows: int, size: tuple[int, int], cameras: int, video: VideoSettings) -> None:
    if root.exists():
        return
    names = [KEY if index == 0 else f"{KEY}_{index}" for index in range(cameras)]
    with DatasetWriter(root, Layout(FPS, "bench", dict.fromkeys(names, size), {"observation.state": ("x", "y")}), video) as writer:
        for episode in range(episodes):
            generator = np.random.default_rng([3, episode])
            length = rows + int(generator.integers(-rows // 4, rows // 4))
            images = {name: scene(generator, length, size) for name in names}
            writer.write(
                Episode(f"task {episode % 5}", np.arange(length) / FPS, images, {"observation.state": generator.normal(size=(length, 2))})
            )
            print(f"  made episode {episode + 1} of {episodes}", end="\r", flush=True)
    print()


def reader_of(root: Path, cameras: int) -> DatasetReader:
    roles = {f"camera_{index}": KEY if index == 0 else f"{KEY}_{index}" for index in range(cameras)}
    return DatasetReader(root, DatasetConfig("bench", FPS, roles, state=("observation.state",)))


def speed(root: Path, clips: int) -> None:
    reader = reader_of(root, 1)
    size = max(path.stat().st_size for path in root.glob("videos/**/*.mp4")) / 1e6
    print(f"speed: clips of 8 frames of {SIZE[0]}x{SIZE[1]} from a file of {size:.0f} MB with {int(reader.metadata.length.sum())} frames")
    for name, draw in (("8 in a row from a random place", in_a_row), ("8 scattered over a random episode", scattered)):
        generator, used, wall = np.random.default_rng(0), [], time.perf_counter()
        for index in range(clips + 20):
            episode = int(generator.integers(len(reader.metadata)))
            rows = draw(generator, int(reader.metadata.length[episode]))
            before = time.process_time()
            frames = reader.frames(episode, rows, "camera_0")
            if index >= 20:
                used.append(time.process_time() - before)
            assert frames.shape == (8, 3, *SIZE)
        rate, wall = 1 / np.mean(used), (clips + 20) / (time.perf_counter() - wall)
        middle, slow = 1e3 * np.median(used), 1e3 * np.quantile(used, 0.99)
        print(f"  {name}: {rate:.0f}/s of processor time, {wall:.0f}/s by the wall; {middle:.1f} ms median, {slow:.1f} ms p99")


def in_a_row(generator: np.random.Generator, length: int) -> np.ndarray:
    return int(generator.integers(length - 8)) + np.arange(8)


def scattered(generator: np.random.Generator, length: int) -> np.ndarray:
    return np.sort(generator.choice(length, 8, replace=False))


def exactness(root: Path, cameras: int, clips: int, minutes: float) -> None:
    """Compare with the package frame by frame; its decoded frames are fetched for each clip anew, one call for all frames of a camera."""
    from lerobot.datasets import LeRobotDataset
    from lerobot.datasets.video_utils import decode_video_frames

    theirs = LeRobotDataset("local/bench", root=root, video_backend="pyav", return_uint8=True)
    ours = reader_of(root, cameras)
    generator = np.random.default_rng(1)
    wrong = frames = done = 0
    limit = time.perf_counter() + 60.0 * minutes
    while done < clips and time.perf_counter() < limit:
        fps = float(generator.choice([FPS, 10.0, 7.0, 5.0]))
        request = ClipRequest(float(generator.uniform(1.0, 8.0)) / fps, fps)
        counts = ours.start_count(request)
        episode = int(generator.choice(np.flatnonzero(counts)))
        start, role = int(generator.integers(counts[episode])), f"camera_{generator.integers(cameras)}"
        clip = ours.clip(episode, start, request, role)
        info, key = theirs.meta.episodes[episode], ours.config.cameras[role]
        items = theirs.hf_dataset[[int(info["dataset_from_index"]) + int(row) for row in clip.rows]]
        assert all(int(index) == episode for index in items["episode_index"])
        times = [info[f"videos/{key}/from_timestamp"] + float(stamp) for stamp in items["timestamp"]]
        path = theirs.root / theirs.meta.get_video_file_path(episode, key)
        expected = decode_video_frames(path, times, theirs.tolerance_s, "pyav", return_uint8=True).numpy()
        wrong += int((clip.frames != expected).any(axis=(1, 2, 3)).sum())
        wrong += int(not np.allclose(clip.state, np.stack([np.asarray(state) for state in items["observation.state"]])))
        frames, done = frames + len(clip.rows), done + 1
        print(f"  {done} clips", end="\r", flush=True)
    files = len(list(root.glob("videos/**/*.mp4")))
    print(f"exactness: {wrong} wrong of {frames} frames in {done} clips, {files} files of {cameras} cameras, {len(counts)} episodes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where the datasets are made")
    parser.add_argument("--clips", type=int, default=10_000, help="clips to compare with the package")
    parser.add_argument("--minutes", type=float, default=20.0, help="stop comparing after this long")
    parser.add_argument("--episodes", type=int, default=120, help="episodes of about 300 frames in the large file")
    arguments = parser.parse_args()
    make(arguments.work / "large", arguments.episodes, 300, SIZE, 1, VIDEO)
    several = VideoSettings("h264", 24, "yuv420p", 10, 0.4)
    make(arguments.work / "several", 60, 80, (96, 128), 2, several)
    speed(arguments.work / "large", 1500)
    exactness(arguments.work / "several", 2, arguments.clips, arguments.minutes)


if __name__ == "__main__":
    main()
