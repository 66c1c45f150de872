"""Strips to look at: what a camera saw, and under it what the model imagined, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wm_core.configuration import setting
from wm_core.data.reader import DatasetReader
from wm_core.errors import VisionError
from wm_core.evaluation.held_out import HeldOut
from wm_core.vision.decoder import Decoder, load_decoder
from wm_core.vision.encoder import Encoder

Pictures = NDArray[np.uint8]
SHOWN = 10


@dataclass(frozen=True)
class StripConfig:
    """Which strips are drawn."""

    decoder: str = setting("Directory of a decoder that was trained on the tokens of the model's encoder")
    count: int = setting("Strips, each of a clip of another episode", low=1, high=1000, default=4)


def write_strips(
    config: StripConfig, beside: Path, encoder: Encoder, clips: HeldOut, reader: DatasetReader, imagined: Tensor, out: Path
) -> tuple[str, ...]:
    """Strips of some held-out clips of `reader` into the folder `out`; imagined frames (B, H, P, D), raw, of one sample each.

    Between camera and imagination stands what the decoder makes of the true tokens: what is lost there is not the model's fault.
    """
    decoder = load_decoder(beside / Path(config.decoder).expanduser(), encoder, encoder.device)
    latents = clips.latents
    moves = (latents[:, clips.context - 1 :] - latents[:, clips.context - 1, None]).square().mean((-3, -2, -1))
    # Clips in which nothing happens show nothing: of all, those are taken that lie evenly in the moving half.
    moving = moves.argsort(descending=True)[: max(1, len(clips) // 2)]
    names = []
    for number, index in enumerate(moving[:: max(1, len(moving) // config.count)][: config.count].tolist()):
        frames = clips.context + imagined.shape[1]
        episode, rows, tokens = int(clips.episodes[index]), clips.rows[index, :frames], latents[index, :frames]
        camera = reader.frames(episode, rows, clips.role).transpose(0, 2, 3, 1)
        decoded = _decoded(decoder, tokens)
        future = np.concatenate([decoded[: clips.context], _decoded(decoder, imagined[index])])
        name = f"strip_{number}.png"
        rows_shown = {"camera": camera, "true tokens,\ndecoded": decoded, "imagined,\ndecoded": future}
        write_strip(out / name, rows_shown, clips.context, f"{clips.dataset}, episode {episode}")
        names.append(name)
    return tuple(names)


def _decoded(decoder: Decoder, tokens: Tensor) -> Pictures:
    """Tokens (T, P, D) as pictures (T, H, W, 3)."""
    return decoder.pictures(tokens.to(decoder.average.device)).permute(0, 2, 3, 1).cpu().numpy()


def write_strip(path: Path, rows: Mapping[str, Pictures], context: int, title: str = "") -> None:
    """Rows of pictures (T, H, W, 3) by name, one under the other; the first `context` columns were seen, the others are imagined.

    Of long strips the last two seen frames and evenly picked imagined ones are shown, the last one always among them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    length = _check(rows, context)
    columns = chosen(length, context)
    figure = Figure(figsize=(1.05 * len(columns) + 1.1, 1.12 * len(rows) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=9)
        for axis, column in zip(line, columns, strict=True):
            _show(axis, pictures[column], seen=column < context)
    for axis, column in zip(axes[0], columns, strict=True):
        ahead = column - context + 1
        axis.set_title(f"+{ahead}" if ahead > 0 else "now" if ahead == 0 else str(ahead), fontsize=9)
    if title:
        figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def chosen(length: int, context: int) -> list[int]:
    """The columns that are shown."""
    seen = list(range(max(0, context - 2), context))
    ahead = np.unique(np.linspace(context, length - 1, min(SHOWN - len(seen), length - context)).round().astype(int))
    return [*seen, *ahead.tolist()]


def _check(rows: Mapping[str, Pictures], context: int) -> int:
    """How many columns there are."""
    shapes = {pictures.shape[:1] for pictures in rows.values()}
    plain = all(pictures.dtype == np.uint8 and pictures.ndim == 4 and pictures.shape[-1] == 3 for pictures in rows.values())
    if len(shapes) != 1 or not plain:
        got = ", ".join(f"{name} {pictures.shape} {pictures.dtype}" for name, pictures in rows.items())
        raise VisionError("the rows of a strip do not fit together", got=got, allowed="(T, H, W, 3) uint8 with one T")
    (length,) = shapes.pop()
    if not 0 < context < length:
        raise VisionError("a strip shows nothing imagined", got=f"{context} of {length} frames were seen", allowed=f"1 .. {length - 1}")
    return length


def _show(axis: Any, picture: Pictures, seen: bool) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color("tab:green" if seen else "tab:orange")
        side.set_linewidth(1.6)
