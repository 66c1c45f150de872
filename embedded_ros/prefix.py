"""Ament prefixes: directories in which packages are found through the resource index. The virtual environment itself is one."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prefix:
    """The directory `root`, laid out as ament and Python expect."""

    root: Path

    @property
    def libraries(self) -> Path:
        """Directory of the shared libraries; lib/PACKAGE holds that package's executables."""
        return self.root / "lib"

    @property
    def site_packages(self) -> Path:
        """Directory of the Python packages."""
        return Path(sysconfig.get_path("purelib", scheme="venv", vars={"base": str(self.root)}))

    def share(self, package: str) -> Path:
        """Directory of the package's shared files."""
        return self.root / "share" / package

    def mark(self, kind: str, package: str, content: str = "") -> None:
        """Write the resource-index entry of `package` under `kind`."""
        marker = self._index(kind) / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(content, encoding="utf-8")

    def indexed(self, kind: str) -> list[str]:
        """Names of all packages that the resource index holds under `kind`."""
        return sorted(path.name for path in self._index(kind).iterdir()) if self._index(kind).is_dir() else []

    def _index(self, kind: str) -> Path:
        return self.root / "share" / "ament_index" / "resource_index" / kind


HERE = Prefix(Path(sys.prefix))


def write_script(path: Path, module: str, function: str) -> None:
    """An executable that calls `module:function` with this environment's interpreter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The kernel cuts a shebang at the first space, so a shell starts the interpreter; to Python its line is a string without effect.
    start = f"""#!/bin/sh\n'''exec' "{sys.executable}" "$0" "$@"\n' '''\n"""
    path.write_text(f"{start}import sys\nfrom {module} import {function}\n\nsys.exit({function}())\n", encoding="utf-8")
    path.chmod(0o755)


def place(source: Path, target: Path) -> None:
    """Copy a file beside its place and move it there: a running process keeps the one it has open."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.new")
    shutil.copyfile(source, fresh)
    fresh.replace(target)


def link_files(source: Path, target: Path) -> None:
    """Link every file below `source` into `target`: file by file, because the tools' searches do not enter linked folders."""
    if target.exists():
        shutil.rmtree(target)
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(path, link)
