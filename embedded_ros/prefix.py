"""The ament prefix: the virtual environment itself, where packages are found through the resource index."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

PREFIX = Path(sys.prefix)
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
LIBRARIES = PREFIX / "lib"


def share(package: str) -> Path:
    """Directory of the package's shared files."""
    return PREFIX / "share" / package


def mark(kind: str, package: str, content: str = "") -> None:
    """Write the ament resource-index entry of `package` under `kind`."""
    marker = PREFIX / "share" / "ament_index" / "resource_index" / kind / package
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(content, encoding="utf-8")


def indexed(kind: str) -> list[str]:
    """Names of all packages that the resource index holds under `kind`."""
    folder = PREFIX / "share" / "ament_index" / "resource_index" / kind
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def write_script(path: Path, module: str, function: str) -> None:
    """An executable that calls `module:function` with this environment's interpreter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\n\nsys.exit({function}())\n", encoding="utf-8")
    path.chmod(0o755)


def link_files(source: Path, target: Path) -> None:
    """Link every file below `source` into `target`: file by file, because the tools' searches do not enter linked folders."""
    if target.exists():
        shutil.rmtree(target)
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(path, link)
