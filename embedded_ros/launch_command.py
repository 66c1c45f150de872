"""`ros2 launch`: the one verb whose distribution is not on the package index, over the launch packages that are."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchDescription, LaunchIntrospector, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
from ros2cli.command import CommandExtension


class LaunchCommand(CommandExtension):
    """Run a launch file."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """The options of the stock verb."""
        # With a terminal, Ctrl-C reaches the nodes by itself; without one, launch must pass the signal on.
        alone = not sys.stdin.isatty()
        parser.add_argument("-n", "--noninteractive", action="store_true", default=alone, help="Run with no terminal associated")
        parser.add_argument("-d", "--debug", action="store_true", help="Log in debug mode")
        parser.add_argument("-p", "--print", "--print-description", action="store_true", help="Print the launch description and exit")
        parser.add_argument("-s", "--show-args", "--show-arguments", action="store_true", help="Show the arguments of the launch file")
        parser.add_argument("package_name", help="Name of the ROS package, or the path of a launch file")
        parser.add_argument("launch_file_name", nargs="?", help="Name of the launch file in the package")
        parser.add_argument("launch_arguments", nargs="*", help="Arguments to the launch file; 'name:=value'")

    def main(self, *, parser: argparse.ArgumentParser, args: Any) -> int:
        """Find the file, then show its arguments, print it or run it."""
        arguments = list(args.launch_arguments)
        if os.path.isfile(args.package_name):
            path = args.package_name
            arguments = ([args.launch_file_name] if args.launch_file_name else []) + arguments
        elif args.launch_file_name:
            path = find_launch_file(args.package_name, args.launch_file_name)
        else:
            raise RuntimeError(f"'{args.package_name}' is not a launch file; give a package and a launch file name")
        if args.show_args:
            return show_arguments(path)
        pairs = [parse_argument(argument) for argument in arguments]
        description = LaunchDescription([IncludeLaunchDescription(AnyLaunchDescriptionSource(path), launch_arguments=pairs)])
        if args.print:
            print(LaunchIntrospector().format_launch_description(AnyLaunchDescriptionSource(path).get_launch_description(_context(pairs))))
            return 0
        service = LaunchService(argv=arguments, noninteractive=args.noninteractive, debug=args.debug)
        service.include_launch_description(description)
        return int(service.run())


def parse_argument(argument: str) -> tuple[str, str]:
    """("name", "value") of "name:=value"."""
    name, separator, value = argument.partition(":=")
    if not separator or not name:
        raise RuntimeError(f"malformed launch argument '{argument}', expected 'name:=value'")
    return name, value


def find_launch_file(package: str, name: str) -> str:
    """The one file called `name` below the package's share directory."""
    try:
        root = Path(get_package_share_directory(package))
    except PackageNotFoundError as error:
        raise RuntimeError(f"package '{package}' not found; see `ros2 pkg list`") from error
    found = sorted(root.rglob(name))
    if len(found) == 1:
        return str(found[0])
    if found:
        raise RuntimeError(f"launch file '{name}' is ambiguous in package '{package}': {', '.join(map(str, found))}")
    launchers = sorted(path.name for path in root.rglob("*launch*") if path.is_file())
    raise RuntimeError(f"no launch file '{name}' in package '{package}'; it has: {', '.join(launchers) or 'none'}")


def show_arguments(path: str) -> int:
    """Print the declared arguments of a launch file with their descriptions, which name the choices, and defaults."""
    declared = AnyLaunchDescriptionSource(path).get_launch_description(_context([])).get_launch_arguments()
    print("Arguments (pass arguments as '<name>:=<value>'):" if declared else "No arguments.")
    for argument in declared:
        default = "".join(part.describe() for part in argument.default_value) if argument.default_value else "required"
        print(f"\n    '{argument.name}':\n        {argument.description}\n        (default: {default})")
    return 0


def _context(pairs: list[tuple[str, str]]) -> Any:
    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(pairs)
    return context
