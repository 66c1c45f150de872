"""The C++ compiler of the machine, and shared libraries made with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embedded_ros.errors import EmbeddedRosError
from embedded_ros.prefix import LIBRARIES, PREFIX

FLAGS = ("-fPIC", "-O1", "-g0", "-w", "-DNDEBUG")


@dataclass(frozen=True, eq=False)
class Library:
    """A shared library to make: `sources` (C or C++), the directories of its headers, and the libraries it calls."""

    target: Path
    sources: list[Path]
    include: list[Path]
    links: list[Path]


def find() -> str:
    """The C++ compiler: $CXX, c++, g++ or clang++; without one, an error that names the package to install."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise EmbeddedRosError(
        "no C++ compiler was found (looked for $CXX, c++, g++, clang++): it compiles the message types of wm_ros",
        "on Debian or Ubuntu: sudo apt install g++; then run the same command again",
    )


def python_headers() -> Path:
    """Directory of Python.h."""
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").is_file():
        raise EmbeddedRosError(
            f"the C headers of Python are missing: {folder}/Python.h", "on Debian or Ubuntu: sudo apt install python3.12-dev"
        )
    return folder


def build(libraries: list[Library], work: Path) -> None:
    """Compile every source, as many at a time as there are cores, then link the libraries in the order given."""
    compiler = find()
    jobs = [(library, source) for library in libraries for source in library.sources]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        objects = list(pool.map(lambda job: _compile(compiler, job[0], job[1], work), jobs))
    for library in libraries:
        own = [obj for obj, (owner, _) in zip(objects, jobs, strict=True) if owner is library]
        _link(compiler, library, own)


def _compile(compiler: str, library: Library, source: Path, work: Path) -> Path:
    obj = work / "objects" / library.target.name / f"{source.parent.parent.name}_{source.parent.name}_{source.name}.o"
    obj.parent.mkdir(parents=True, exist_ok=True)
    language = ["-x", "c", "-std=gnu11"] if source.suffix == ".c" else ["-x", "c++", "-std=c++17"]
    include = [f"-I{folder}" for folder in library.include]
    _run([compiler, *language, *FLAGS, *include, "-c", str(source), "-o", str(obj)], source)
    return obj


def _link(compiler: str, library: Library, objects: list[Path]) -> None:
    library.target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and moved into place: a running process keeps the library it has open.
    fresh = library.target.with_suffix(".so.new")
    links = [str(path) for path in library.links]
    search = [f"-L{LIBRARIES}", f"-Wl,-rpath,{LIBRARIES}", "-Wl,--allow-shlib-undefined"]
    _run([compiler, "-shared", "-o", str(fresh), *map(str, objects), *search, *links], library.target)
    fresh.replace(library.target)


def _run(command: list[str], subject: Path) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        first = "\n    ".join(result.stderr.strip().splitlines()[:6])
        raise EmbeddedRosError(
            f"{command[0]} failed on {subject}:\n    {first}", f"check that the compiler works and that the headers in {PREFIX} are whole"
        )
