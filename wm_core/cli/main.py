"""`wm VERB`: parse the command line and hand over to the verb."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Container, Sequence

from wm_core.cli import (
    ablations,
    collect,
    dataset,
    demo,
    embedded,
    evaluate,
    evaluate_control,
    evaluate_replay,
    export_encoder,
    finetune,
    plan,
    train,
    train_decoder,
    train_encoder,
)
from wm_core.data import storage
from wm_core.errors import WmError

# In the order in which one meets them. Each adds its parser and imports what it needs only when it runs: torch alone takes seconds.
VERBS = (
    demo,
    embedded,
    collect,
    dataset,
    train_encoder,
    train_decoder,
    export_encoder,
    train,
    evaluate,
    evaluate_control,
    evaluate_replay,
    finetune,
    plan,
    ablations,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; an error of ours is one message and exit status 1, and so is a full disk, whatever was being written."""
    chosen = parsed(arguments)
    try:
        return int(chosen.run(chosen))
    except WmError as error:
        print(f"wm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("wm: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        no_room = storage.full(error)
        if no_room is None:
            raise
        print(f"wm: {no_room}", file=sys.stderr)
        return 1


def command_line() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and that of each verb."""
    parser = argparse.ArgumentParser(prog="wm", description="wm_ros: an arm that reaches goals given as pictures")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        verb.add(verbs)
    return parser, verbs.choices


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The verb in `run`, with its arguments; what is wrong with them ends the process with status 2."""
    parser, verbs = command_line()
    chosen, left = parser.parse_known_args(joined(sys.argv[1:] if arguments is None else arguments, verbs))
    # argparse gives up on KEY=VALUE that stand behind an option when others stood before it.
    wrong = [word for word in left if word.startswith("-") or not hasattr(chosen, "overrides")]
    if wrong:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if left:
        chosen.overrides = [*chosen.overrides, *left]
    return chosen


def joined(words: Sequence[str], verbs: Container[str]) -> list[str]:
    """A verb of two words, such as `evaluate control`, as one."""
    two = " ".join(words[:2])
    return [two, *words[2:]] if len(words) > 1 and two in verbs else list(words)


if __name__ == "__main__":
    sys.exit(main())
