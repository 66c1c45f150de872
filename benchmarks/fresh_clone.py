"""Time from a fresh clone to a moving arm, and of what comes after, in a folder whose name has spaces.

    ./wm exec python benchmarks/fresh_clone.py [--cold]

The clone holds what is committed. With uv's cache warm the Python packages are not downloaded again (the 133 MB wheel of the ros2 command
line always is); `--cold` starts with empty caches. The demonstration moves the arm and ends with an error if it did not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_BEHIND = ("VIRTUAL_ENV", "AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "FASTRTPS_DEFAULT_PROFILES_FILE", "ROS_LOG_DIR", "PYTHONPATH")


def environment(cache: Path | None) -> dict[str, str]:
    """Of a user who has not been in ./wm: without what the environment around this process set."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_BEHIND and not name.startswith("_ROS_")}
    kept["PATH"] = ":".join(folder for folder in kept["PATH"].split(":") if not folder.startswith(str(ROOT)))
    return {**kept, "UV_CACHE_DIR": str(cache / "uv"), "PIP_CACHE_DIR": str(cache / "pip")} if cache else kept


def timed(what: str, command: list[str], folder: Path, variables: dict[str, str], repeat: int = 1) -> None:
    """Print the median time of `command`; what it says is shown only when it fails."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        result = subprocess.run(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        times.append(time.perf_counter() - started)
        if result.returncode != 0:
            raise SystemExit(f"{what} failed:\n{result.stdout}")
    print(f"{what:52} {sorted(times)[repeat // 2]:8.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cold", action="store_true", help="with empty caches of uv and pip, so that everything is downloaded")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fresh clone ") as folder:
        clone = Path(folder) / "wm ros"
        variables = environment(Path(folder) / "cache" if chosen.cold else None)
        print(f"{os.cpu_count()} cores, caches {'empty' if chosen.cold else 'warm'}")
        timed("git clone", ["git", "clone", "--quiet", str(ROOT), str(clone)], Path(folder), variables)
        timed("./wm setup, the first time", ["./wm", "setup"], clone, variables)
        timed("./wm setup, from the second time on", ["./wm", "setup"], clone, variables, repeat=9)
        timed("./wm ros2 pkg prefix wm_ros", ["./wm", "ros2", "pkg", "prefix", "wm_ros"], clone, variables, repeat=3)
        timed("./wm doctor", ["./wm", "doctor"], clone, variables)
        timed("./wm demo, until the arm has moved and was reported", ["./wm", "demo"], clone, variables)


if __name__ == "__main__":
    main()
