"""Whether what an evaluation names is there: a minute's work that is lost to a mistyped path is found before it, not after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate_config import EvaluateConfig


def require_there(config: EvaluateConfig, beside: Path) -> None:
    """Refuse a configuration that names files or folders, relative to `beside`, that do not exist; all of them are told at once.

    Shifted sets may be missing: the report goes without them, and says so.
    """
    missing = [(setting, beside / Path(path).expanduser()) for setting, path in _named(config)]
    missing = [(setting, path) for setting, path in missing if not path.exists()]
    if missing:
        got = "; ".join(f"{setting}: {path}" for setting, path in missing)
        settings = ", ".join(setting for setting, _ in missing)
        raise EvaluationError("what is named is not there", got=got, mend=f"{settings}; relative paths begin at {beside}")


def _named(config: EvaluateConfig) -> Iterator[tuple[str, str]]:
    """Settings and the paths that they give."""
    sets = {"data.labelled": config.data.labelled, "data.unlabelled": config.data.unlabelled, "states": config.states}
    for name, one in sets.items():
        if one is not None and one.root:
            yield f"{name}.root", one.root
            yield f"{name}.description", one.description
    if config.data.shifted.root:
        yield "data.shifted.description", config.data.shifted.description
    if config.strips is not None:
        yield "strips.decoder", config.strips.decoder
    if config.plan_rank is not None:
        yield "plan_rank.arm", config.plan_rank.arm
    if config.baseline:
        yield "baseline", config.baseline
