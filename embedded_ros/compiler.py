"""The C++ compiler of the machine, and shared libraries made with it. `python -m embedded_ros.compiler` says which one is found."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embedded_ros.errors import EmbeddedRosError

FLAGS = ("-fPIC", "-O1", "-g0", "-w", "-DNDEBUG")
NAMES = ("c++", "g++", "clang++")
REMEDY = "on Debian or Ubuntu: sudo apt install g++; then run the same command again"


@dataclass(frozen=True, eq=False)
class Library:
    """A shared library to make: its sources (all C, or all C++), the directories of their headers, and the libraries it calls.

    The sources of one unit are compiled as one file: most of the time of each goes into the headers that they share.
    """

    target: Path
    units: list[list[Path]]
    include: list[Path]
    links: list[Path]


def find() -> list[str]:
    """The command of the C++ compiler: $CXX, which may carry arguments, else c++, g++ or clang++."""
    chosen = shlex.split(os.environ.get("CXX", ""))
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise EmbeddedRosError(f"the C++ compiler that CXX names was not found: CXX={os.environ['CXX']}", f"unset CXX, or {REMEDY}")
        return chosen
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return [path]
    raise EmbeddedRosError(f"no C++ compiler was found (looked for {', '.join(NAMES)}): it compiles the message types of wm_ros", REMEDY)


def python_headers() -> Path:
    """Directory of Python.h."""
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").is_file():
        raise EmbeddedRosError(
            f"the C headers of Python are missing: {folder}/Python.h",
            "on Debian or Ubuntu: sudo apt install python3.12-dev; then run the same command again",
        )
    return folder


def build(libraries: list[Library], work: Path, search: list[Path]) -> None:
    """Compile as many at a time as there are cores, link in the order given; `search`: where libraries are at run time."""
    compiler = find()
    jobs = [(library, number) for library in libraries for number in range(len(library.units))]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        objects = list(pool.map(lambda job: _compile(compiler, job[0], job[1], work), jobs))
    for library in libraries:
        own = [path for path, (owner, _) in zip(objects, jobs, strict=True) if owner is library]
        _link(compiler, library, own, search)


def _compile(compiler: list[str], library: Library, number: int, work: Path) -> Path:
    sources = library.units[number]
    is_c = sources[0].suffix == ".c"
    language = ["-x", "c", "-std=gnu11"] if is_c else ["-x", "c++", "-std=c++17"]
    unit = work / "units" / f"{library.target.name}.{number}{sources[0].suffix}"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text("".join(f'#include "{source}"\n' for source in sources), encoding="utf-8")
    compiled = unit.with_suffix(".o")
    _run([*compiler, *language, *FLAGS, *(f"-I{folder}" for folder in library.include), "-c", str(unit), "-o", str(compiled)], unit)
    return compiled


def _link(compiler: list[str], library: Library, objects: list[Path], search: list[Path]) -> None:
    library.target.parent.mkdir(parents=True, exist_ok=True)
    paths = [word for folder in search for word in ("-Xlinker", "-rpath", "-Xlinker", str(folder))]
    options = ["-shared", "-Wl,--allow-shlib-undefined", f"-Wl,-soname,{library.target.name}", *paths]
    _run([*compiler, *options, "-o", str(library.target), *map(str, objects), *map(str, library.links)], library.target)


def _run(command: list[str], subject: Path) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        first = "\n    ".join(result.stderr.strip().splitlines()[:6])
        raise EmbeddedRosError(
            f"{command[0]} failed on {subject.name}:\n    {first}",
            "check that it compiles C++17; if a header is missing, remove .venv: the next ./wm command makes it anew",
        )


def main() -> int:
    """Print the compiler's command, or what is missing."""
    try:
        python_headers()
        print(shlex.join(find()))
    except EmbeddedRosError as error:
        print(f"wm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
