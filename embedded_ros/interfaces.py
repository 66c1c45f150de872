"""Message and service definitions become a ROS package: the stock generators, then the machine's C++ compiler.

The steps are those of `rosidl_generate_interfaces` in CMake: adapt to IDL, describe and hash the types, generate C, its type supports
and Python. Nothing of the generators is replaced, so the type hashes equal those of a colcon build.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded_ros import compiler
from embedded_ros.compiler import Library
from embedded_ros.prefix import HERE, Prefix, place

DESCRIPTION = "rosidl_generator_type_description"
C = "rosidl_generator_c"
INTROSPECTION = "rosidl_typesupport_introspection_c"
FASTRTPS = "rosidl_typesupport_fastrtps_c"
DISPATCH = "rosidl_typesupport_c"
PYTHON = "rosidl_generator_py"
TYPE_SUPPORTS = [FASTRTPS, INTROSPECTION]


@dataclass(frozen=True)
class Definitions:
    """The definitions of one package: files `root`/msg/*.msg and `root`/srv/*.srv, and its package.xml."""

    package: str
    root: Path

    @property
    def files(self) -> list[Path]:
        """Relative paths such as msg/SafetyStatus.msg."""
        found = [*self.root.glob("msg/*.msg"), *self.root.glob("srv/*.srv")]
        return sorted(path.relative_to(self.root) for path in found)

    def digest(self, prefix: Prefix) -> str:
        """Hash of all that the result depends on: the definitions, the place, the generators' versions, and how they are called."""
        wheels = sorted(path.name for path in HERE.site_packages.glob("ros_*.dist-info"))
        content = hashlib.sha256("\n".join([str(HERE.root), str(prefix.root), *wheels]).encode())
        steps = [Path(__file__), Path(compiler.__file__)]
        for path in [*steps, *(self.root / path for path in self.files)]:
            content.update(f"{path.parent.name}/{path.name}\n".encode() + path.read_bytes())
        return content.hexdigest()


def install(definitions: Definitions, *, python_package: bool, prefix: Prefix = HERE) -> bool:
    """Generate, compile and register the package in `prefix`; False when it is there already, unchanged.

    `python_package` False leaves out the top-level __init__.py: the package's own source folder carries it.
    """
    stamp = prefix.share(definitions.package) / "interfaces.sha256"
    digest = definitions.digest(prefix)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return False
    with tempfile.TemporaryDirectory(prefix="wm_ros_interfaces_") as folder:
        work = Path(folder)
        _generate(definitions, work)
        _compile(definitions, work, prefix)
        stamp.unlink(missing_ok=True)
        _install_libraries(definitions, work, prefix)
        _install_python(definitions, work, prefix, python_package)
        _install_share(definitions, work, prefix)
    stamp.write_text(digest, encoding="utf-8")
    return True


def _generate(definitions: Definitions, work: Path) -> None:
    import rosidl_parser.parser
    from rosidl_adapter import convert_to_idl
    from rosidl_generator_c import generate_c
    from rosidl_generator_py import generate_py
    from rosidl_generator_type_description import generate_type_hash
    from rosidl_typesupport_c import generate_c as generate_dispatch
    from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
    from rosidl_typesupport_introspection_c import generate_c as generate_introspection

    # Seven generators parse the same text; the grammar takes 0.2 s a file, which is nearly all the time there is.
    rosidl_parser.parser.get_ast_from_idl_string = functools.cache(rosidl_parser.parser.get_ast_from_idl_string)
    for path in definitions.files:
        convert_to_idl(definitions.root, definitions.package, path, work / "idl")
    generate_type_hash(_arguments(definitions, work, DESCRIPTION))
    generate_c(_arguments(definitions, work, C), False)
    generate_introspection(_arguments(definitions, work, INTROSPECTION))
    generate_typesupport_fastrtps_c(_arguments(definitions, work, FASTRTPS))
    generate_dispatch(_arguments(definitions, work, DISPATCH), TYPE_SUPPORTS)
    generate_py(_arguments(definitions, work, PYTHON), [DISPATCH])
    for generator in (C, INTROSPECTION, FASTRTPS):
        _visibility_header(definitions.package, generator, _output(definitions, work, generator) / "msg")


def _output(definitions: Definitions, work: Path, generator: str) -> Path:
    """Each generator writes into a tree of its own: two of them use the same file names."""
    return work / generator / definitions.package


def _arguments(definitions: Definitions, work: Path, generator: str) -> str:
    """The JSON file by which CMake speaks to a generator."""
    output = _output(definitions, work, generator)
    for path in definitions.files:
        (output / path.parent).mkdir(parents=True, exist_ok=True)
    idl_files = [path.with_suffix(".idl") for path in definitions.files]
    others = [name for name in HERE.indexed("rosidl_interfaces") if name != definitions.package]
    arguments: dict[str, Any] = {
        "package_name": definitions.package,
        "output_dir": str(output),
        "template_dir": str(HERE.share(generator) / "resource"),
        "idl_tuples": [f"{work / 'idl'}:{path}" for path in idl_files],
        "ros_interface_files": [str(definitions.root / path) for path in definitions.files],
        "ros_interface_dependencies": [f"{name}:{path}" for name in others for path in HERE.share(name).rglob("*.idl")],
        "include_paths": [f"{name}:{HERE.share(name)}" for name in others],
        "target_dependencies": [],
    }
    if generator != DESCRIPTION:
        described = _output(definitions, work, DESCRIPTION)
        arguments["type_description_tuples"] = [f"{path}:{described / path.with_suffix('.json')}" for path in idl_files]
    target = work / f"{generator}.json"
    target.write_text(json.dumps(arguments), encoding="utf-8")
    return str(target)


def _visibility_header(package: str, generator: str, folder: Path) -> None:
    template = HERE.share(generator) / "resource" / f"{generator}__visibility_control.h.in"
    content = template.read_text(encoding="utf-8").replace("@PROJECT_NAME@", package).replace("@PROJECT_NAME_UPPER@", package.upper())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{generator}__visibility_control.h").write_text(content, encoding="utf-8")


def _compile(definitions: Definitions, work: Path, prefix: Prefix) -> None:
    import numpy

    package = definitions.package
    headers = [work / generator for generator in (C, INTROSPECTION, FASTRTPS, DISPATCH)]
    headers += [HERE.root / "include", *(path for path in (HERE.root / "include").iterdir() if path.is_dir())]
    python_headers = [*headers, compiler.python_headers(), Path(numpy.get_include())]
    extension = work / "python" / package / f"{package}_s__{DISPATCH}.so"
    own = {kind: work / "lib" / _library_name(package, kind) for kind in (C, INTROSPECTION, FASTRTPS, DISPATCH, PYTHON)}

    def library(kind: str, patterns: str, include: list[Path], *links: Path) -> Library:
        sources = sorted(_output(definitions, work, kind).glob(patterns))
        # Each file of type descriptions names the types it refers to by symbols of its own: they do not go together.
        units = [[source] for source in sources] if kind == C else [sources]
        return Library(own[kind], units, include, [*links, *_of_other_packages(package, kind), *_runtime()])

    compiler.build(
        [
            library(C, "*/detail/*.c", headers),
            library(INTROSPECTION, "*/detail/*.c", headers, own[C]),
            library(FASTRTPS, "*/detail/*.cpp", headers, own[C]),
            library(DISPATCH, "*/*.cpp", headers, own[C]),
            library(PYTHON, "*/_*_s.c", python_headers, own[C], own[DISPATCH]),
            Library(
                extension,
                [[_output(definitions, work, PYTHON) / f"_{package}_s.ep.{DISPATCH}.c"]],
                python_headers,
                [own[PYTHON], own[C], own[DISPATCH], *_runtime()],
            ),
        ],
        work,
        search=[prefix.libraries, HERE.libraries],
    )


def _library_name(package: str, kind: str) -> str:
    return f"lib{package}__{kind}.so"


def _of_other_packages(package: str, kind: str) -> list[Path]:
    found = [HERE.libraries / _library_name(name, kind) for name in HERE.indexed("rosidl_interfaces") if name != package]
    return [path for path in found if path.is_file()]


def _runtime() -> list[Path]:
    names = ("rosidl_runtime_c", DISPATCH, INTROSPECTION, FASTRTPS, "rosidl_typesupport_fastrtps_cpp", "fastcdr", "rcutils")
    return [HERE.libraries / f"lib{name}.so" for name in names]


def _install_libraries(definitions: Definitions, work: Path, prefix: Prefix) -> None:
    """The shared libraries, and the headers by which another package's messages hold these."""
    for path in sorted((work / "lib").glob("*.so")):
        place(path, prefix.libraries / path.name)
    for generator in (C, INTROSPECTION, FASTRTPS):
        for path in sorted(_output(definitions, work, generator).rglob("*.h")):
            place(path, prefix.root / "include" / definitions.package / path.relative_to(work / generator))


def _install_python(definitions: Definitions, work: Path, prefix: Prefix, python_package: bool) -> None:
    target = prefix.site_packages / definitions.package
    shutil.rmtree(target, ignore_errors=True)
    for tree, pattern in ((_output(definitions, work, PYTHON), "*.py"), (work / "python" / definitions.package, "*.so")):
        for path in sorted(tree.rglob(pattern)):
            place(path, target / path.relative_to(tree))
    if python_package:
        (target / "__init__.py").touch()
    else:
        (target / "__init__.py").unlink(missing_ok=True)


def _install_share(definitions: Definitions, work: Path, prefix: Prefix) -> None:
    target = prefix.share(definitions.package)
    kinds = ("msg", "srv")
    for kind in kinds:
        shutil.rmtree(target / kind, ignore_errors=True)
    for source in (definitions.root, work / "idl", _output(definitions, work, DESCRIPTION)):
        for path in sorted(path for kind in kinds for path in (source / kind).glob("*.*")):
            place(path, target / path.relative_to(source))
    place(definitions.root / "package.xml", target / "package.xml")
    listed = sorted(str(path.relative_to(target)) for kind in kinds for path in (target / kind).glob("*.[!j]*"))
    prefix.mark("packages", definitions.package)
    prefix.mark("rosidl_interfaces", definitions.package, "\n".join(listed))
