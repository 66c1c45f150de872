"""`python -m embedded_ros install`: set up; `python -m embedded_ros check`: say what is in place."""

from __future__ import annotations

import sys
from pathlib import Path

from embedded_ros.errors import EmbeddedRosError
from embedded_ros.install import install, state

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Run the verb and return the exit status."""
    if arguments == ["install"]:
        try:
            install(ROOT, lambda line: print(f"  {line}", file=sys.stderr, flush=True))
        except EmbeddedRosError as error:
            print(f"wm: {error}", file=sys.stderr)
            return 1
        return 0
    if arguments == ["check"]:
        found = state()
        for what, there in found.items():
            print(f"  {'ok     ' if there else 'MISSING'} {what}")
        return 0 if all(found.values()) else 1
    print("usage: python -m embedded_ros install | check", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
