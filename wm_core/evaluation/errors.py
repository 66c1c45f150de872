"""What an evaluation refuses."""

from __future__ import annotations

from wm_core.errors import WmError


class EvaluationError(WmError):
    """Clips, numbers or settings that no honest evaluation can be made from."""
