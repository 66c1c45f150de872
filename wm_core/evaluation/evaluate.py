"""From a checkpoint to numbers and a verdict: `wm evaluate`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wm_core import configuration
from wm_core.data.skips import Skips
from wm_core.evaluation import calibration, imagined, page, verdict
from wm_core.evaluation.action_response import ActionResponse, action_response, sequences
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.calibration import CalibrationResult, Coverage
from wm_core.evaluation.evaluate_config import EvaluateConfig, SetConfig
from wm_core.evaluation.held_out import HeldOut, Request
from wm_core.evaluation.imagined import Draw, recorded
from wm_core.evaluation.kept import keep
from wm_core.evaluation.latent_error import LatentError, latent_error
from wm_core.evaluation.named_paths import require_there
from wm_core.evaluation.plan_rank import PlanRank, rank_plans
from wm_core.evaluation.results import Evaluation, Shortened
from wm_core.evaluation.sampling_steps import SamplingSteps, sampling_steps
from wm_core.evaluation.sets import TokenSet, model_of, open_encoder, open_set, rate
from wm_core.evaluation.state_probe import StateErrors, probe_states
from wm_core.evaluation.strip import write_strips
from wm_core.evaluation.unseen import require_unseen
from wm_core.evaluation.verdict import Verdict
from wm_core.training.overrides import overridden
from wm_core.vision.encoder import Encoder
from wm_core.world_model import checkpoint as checkpoints
from wm_core.world_model.checkpoint import Checkpoint
from wm_core.world_model.transformer import parameters
from wm_core.world_model.world_model import WorldModel, directory

Say = Callable[[str], None]
FILE = "evaluation.json"
SPARE = 1.1  # clips that are drawn for bands, beyond those that are needed: not every half of the episodes has its half of the clips
PROBED = (1, 5, 10, 20)  # horizons at which states are read from imagined frames


def evaluate(checkpoint: Path, path: Path, overrides: Sequence[str], out: Path, say: Say) -> Evaluation:
    """Evaluate the checkpoint (its directory, or one that holds several) as the YAML at `path` says.

    Bands and verdict go into the checkpoint's directory, evaluation.json and the page into `out`.
    """
    config = overridden(configuration.read(EvaluateConfig, path), overrides)
    if config.threads:
        torch.set_num_threads(config.threads)
    place = directory(checkpoint)
    result = evaluated(config, path.parent, place, out, say)
    out.mkdir(parents=True, exist_ok=True)
    keep(place, result)
    _write(out / FILE, asdict(result))
    for written in page.write(result, out):
        say(f"wrote {written}")
    say(f"{place.name} {result.verdict.text()}")
    return result


def evaluated(config: EvaluateConfig, beside: Path, place: Path, out: Path, say: Say, own_split: bool = False) -> Evaluation:
    """The checkpoint in `place`; relative paths begin at `beside`. Strips go into `out`, nothing else is written.

    `own_split`: the caller knows which episodes are held out of what, and the checkpoint's training is not asked.
    """
    require_there(config, beside)
    loaded = checkpoints.load(place)
    if not own_split:
        require_unseen(loaded, config.data, beside)
    return _evaluation(_bench(config, beside, loaded, say), place, out)


@dataclass
class _Bench:
    """What the stages share, and what they leave behind: seconds by stage, the episodes that were skipped, and short horizons.

    baseline: the teacher-forced model that is compared with; None: none.
    """

    config: EvaluateConfig
    beside: Path
    model: WorldModel
    baseline: WorldModel | None
    encoder: Encoder
    labelled: TokenSet
    fps: float
    say: Say
    skipped: Skips
    seconds: dict[str, float] = field(default_factory=dict)
    shortened: list[Shortened] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time it, and say that it is over."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin
        self.say(f"{name}: {self.seconds[name]:.0f} s")

    @property
    def draw(self) -> Draw:
        """As the model's own configuration samples, on the encoder's grid."""
        steps = self.model.config.objective.resolved().sampling_steps
        return Draw(self.config.error.seeds, steps, self.model.grids[0])

    def open(self, one: SetConfig) -> TokenSet:
        return open_set(self.config.data, one, self.beside, self.encoder, self.skipped.add, self.say)

    def request(self, clips: int, context: int, horizon: int) -> Request:
        return Request(clips, context, horizon, self.fps, self.config.seed)

    def clips(self, tokens: TokenSet) -> HeldOut:
        """The clips that errors are measured on."""
        error = self.config.error
        return self.drawn(tokens, self.request(error.clips, error.context, error.horizon), "latent error")

    def drawn(self, tokens: TokenSet, request: Request, measured: str) -> HeldOut:
        """Clips as asked for, but for a horizon that the episodes are too short for, of which a note is left."""
        clips, metadata = tokens.clips(request, self.skipped.add), tokens.reader.metadata
        if clips.horizon < request.horizon:
            rows = int(np.median(metadata.length[tokens.episodes]))
            short = Shortened(tokens.reader.name, measured, request.horizon, clips.horizon, request.rows(metadata.fps), rows)
            self.shortened.append(short)
        return clips

    def encode(self, frames: Tensor) -> Tensor:
        """Tokens (B, P, D) of pictures (B, 3, H, W) uint8, wherever the encoder runs, beside what they are compared with."""
        return self.encoder(frames).patches.cpu()


def _bench(config: EvaluateConfig, beside: Path, loaded: Checkpoint, say: Say) -> _Bench:
    model = model_of(config, loaded)
    encoder = open_encoder(config.data, beside, config.torch_device())
    model.require_encoder(encoder.name, encoder.weight_hash)
    baseline = _baseline(config, beside)
    if baseline is not None:
        baseline.require_encoder(encoder.name, encoder.weight_hash)
    skipped = Skips(say)
    labelled = open_set(config.data, config.data.labelled, beside, encoder, skipped.add, say)
    return _Bench(config, beside, model, baseline, encoder, labelled, rate(config.data, model), say, skipped)


def _baseline(config: EvaluateConfig, beside: Path) -> WorldModel | None:
    if not config.baseline:
        return None
    loaded = checkpoints.load(directory(beside / Path(config.baseline).expanduser()))
    require_unseen(loaded, config.data, beside)
    return model_of(config, loaded)


def _evaluation(bench: _Bench, place: Path, out: Path) -> Evaluation:
    model, config = bench.model, bench.config
    clips = bench.clips(bench.labelled)
    labelled, unlabelled, baseline = _errors(bench, clips)
    with bench.stage("response to actions"):
        response = _response(bench, clips)
    with bench.stage("sampling steps"):
        sampling = _sampling(bench, clips)
    with bench.stage("calibration"):
        bands = _calibration(bench)
    states, strips = _looked_at(bench, clips, out)
    ranks = _plan_rank(bench)
    return Evaluation(
        checkpoint=place.name,
        step=model.provenance.step,
        weights=model.hash,
        parameters=parameters(model.network),
        encoder=model.provenance.encoder,
        encoder_hash=model.provenance.encoder_hash,
        labelled=labelled,
        unlabelled=unlabelled,
        baseline=baseline,
        actions=response,
        sampling=sampling,
        calibration=bands,
        states=states,
        plan_rank=ranks,
        strips=strips,
        verdict=_verdict(config, labelled, response, sampling, bands, ranks),
        skipped=bench.skipped.lines(),
        seconds=dict(bench.seconds),
        shortened=tuple(bench.shortened),
    )


def _errors(bench: _Bench, clips: HeldOut) -> tuple[LatentError, LatentError, LatentError | None]:
    """On labelled clips, on unlabelled ones, and of the baseline on the labelled ones."""
    config, draw = bench.config, bench.draw
    with bench.stage("latent error, labelled"):
        labelled = latent_error(imagined.measure(bench.model, clips, recorded(clips), draw), draw, clips.context)
    with bench.stage("latent error, unlabelled"):
        own = config.data.unlabelled
        hidden = (bench.clips(bench.open(own)) if own.root else clips).unlabelled()
        fewer = replace(draw, seeds=config.error.unlabelled_seeds)
        unlabelled = latent_error(imagined.measure(bench.model, hidden, recorded(hidden), fewer), fewer, hidden.context)
    if bench.baseline is None:
        return labelled, unlabelled, None
    with bench.stage("baseline"):
        return labelled, unlabelled, _own_error(bench.baseline, clips, draw.seeds)


def _own_error(model: WorldModel, clips: HeldOut, seeds: int) -> LatentError:
    """As that model samples; one that has no noise gives the same future with every seed."""
    objective = model.config.objective.resolved()
    draw = Draw(1 if objective.kind == "deterministic" else seeds, objective.sampling_steps, model.grids[0])
    return latent_error(imagined.measure(model, clips, recorded(clips), draw), draw, clips.context)


def _response(bench: _Bench, clips: HeldOut) -> ActionResponse:
    error = bench.config.error
    near, draw = clips.until(error.response_horizon), replace(bench.draw, seeds=error.response_seeds)
    return action_response(imagined.measure(bench.model, near, sequences(near, bench.config.seed), draw), draw)


def _sampling(bench: _Bench, clips: HeldOut) -> SamplingSteps:
    own = bench.config.sampling
    few = clips.part(slice(own.clips)).until(own.horizon)
    draw = replace(bench.draw, seeds=own.seeds, grid=bench.model.grids[min(own.grid, len(bench.model.grids) - 1)])
    objective = bench.model.config.objective
    return sampling_steps(bench.model, few, {objective.steps_for(count) for count in own.steps}, draw, time.perf_counter)


def _calibration(bench: _Bench) -> CalibrationResult | None:
    """Bands from half of the episodes, coverage on the other half and on shifted sets; None where there are too few clips."""
    own, model = bench.config.calibration, bench.model
    drawn = bench.drawn(bench.labelled, bench.request(round(SPARE * 2 * own.clips), own.context, own.horizon), "calibration")
    one, other = (half[: own.clips] for half in calibration.halves(drawn.episodes, bench.config.seed))
    if min(len(one), len(other)) < calibration.fewest(own.coverage):
        bench.say(f"no bands: {len(drawn)} clips are too few")
        return None
    clips = drawn.part(np.concatenate([one, other]))
    draw = Draw(own.seeds, model.config.objective.steps_for(own.steps), model.grids[-min(own.grid, len(model.grids))])
    errors = imagined.measure(model, clips, recorded(clips), draw)
    bands, widths = calibration.fit(errors.part(slice(len(one))), draw, clips.context, model.hash, own.coverage)
    test = calibration.covered("held out", bands, errors.part(slice(len(one), None)))
    return CalibrationResult(bands, widths, test, _shifted(bench, draw, bands))


def _shifted(bench: _Bench, draw: Draw, bands: calibration.Calibration) -> tuple[Coverage, ...]:
    """Coverage on each shifted set that is there."""
    own, shifted = bench.config.calibration, bench.config.data.shifted
    found = []
    for name in shifted.scenes if shifted.root else ():
        root = str(Path(shifted.root) / name)
        if not (bench.beside / Path(root).expanduser()).exists():
            bench.say(f"no shifted set {name} under {shifted.root}")
            continue
        tokens = bench.open(SetConfig(root, shifted.description, tool_state=shifted.tool_state))
        clips = bench.drawn(tokens, bench.request(own.shifted_clips, bands.context, len(bands.quantile)), "calibration")
        found.append(calibration.covered(name, bands, imagined.measure(bench.model, clips, recorded(clips), draw)))
    return tuple(found)


def _looked_at(bench: _Bench, clips: HeldOut, out: Path) -> tuple[StateErrors | None, tuple[str, ...]]:
    """States that probes read from imagined frames, and strips of them."""
    config, reader = bench.config, bench.labelled.pictures
    if config.states is None and config.strips is None:
        return None, ()
    with bench.stage("states and strips"):
        drawn = imagined.futures(bench.model, clips, recorded(clips), replace(bench.draw, seeds=1))
        future = torch.cat([part[0, :, 0].cpu() for _, part in drawn])
        states: StateErrors | None = None
        strips: tuple[str, ...] = ()
        if config.states is not None:
            tested = bench.labelled.episodes
            states = probe_states(config.states, bench.beside, bench.encode, clips, reader, tested, future, PROBED)
        if config.strips is not None:
            strips = write_strips(config.strips, bench.beside, bench.encoder, clips, reader, future, out)
    return states, strips


def _plan_rank(bench: _Bench) -> tuple[PlanRank, ...]:
    if bench.config.plan_rank is None:
        return ()
    with bench.stage("plan rank"):
        size = bench.config.data.preprocessing
        return rank_plans(bench.config.plan_rank, bench.beside, bench.encode, size, bench.model, bench.fps)


def _verdict(
    config: EvaluateConfig,
    labelled: LatentError,
    response: ActionResponse,
    sampling: SamplingSteps,
    bands: CalibrationResult | None,
    ranks: tuple[PlanRank, ...],
) -> Verdict:
    ratio = dict(enumerate(labelled.ratio, start=1))
    four = sampling.held_against_more(4)
    numbers: dict[str, float | None] = {
        name: ratio[horizon].value if horizon in ratio else None for name, horizon in verdict.HORIZONS.items()
    }
    numbers |= {
        "action_gain": response.gain_overall.value,
        "deviation": response.deviation_overall.value,
        "four_steps": four.value if four else None,
        "coverage": bands.test.overall.value if bands else None,
        "calibration_clips": float(min(bands.calibration.clips, bands.test.clips)) if bands else None,
        "plan_rank": ranks[-1].latent.value if ranks else None,  # on the coarsest grid, the one that plans are made on
    }
    return verdict.judge(numbers, config.bars, _measured_on(labelled, response, sampling, bands, ranks))


def _measured_on(
    labelled: LatentError,
    response: ActionResponse,
    sampling: SamplingSteps,
    bands: CalibrationResult | None,
    ranks: tuple[PlanRank, ...],
) -> dict[str, str]:
    """Of each rule the clips and frames ahead that its number comes from, and the number's interval."""

    def clips(of: LatentError | ActionResponse | SamplingSteps | Coverage, ahead: str, value: Estimate) -> str:
        return f"{of.clips} clips of {of.episodes} episodes, {ahead} ahead; {value.low:.3g} to {value.high:.3g}"

    found = {
        name: clips(labelled, str(horizon), labelled.ratio[horizon - 1])
        for name, horizon in verdict.HORIZONS.items()
        if horizon <= len(labelled.ratio)
    }
    acted, four = f"1 to {len(response.gain)}", sampling.held_against_more(4)
    found |= {
        "action_gain": clips(response, acted, response.gain_overall),
        "deviation": clips(response, acted, response.deviation_overall),
    }
    if four:
        found["four_steps"] = clips(sampling, f"1 to {len(sampling.rows[0].error)}", four)
    if bands:
        found["coverage"] = clips(bands.test, f"1 to {len(bands.test.share)}", bands.test.overall)
    if ranks:
        value = ranks[-1].latent
        found["plan_rank"] = f"{len(ranks[-1].starts)} starts; {value.low:.3g} to {value.high:.3g}"
    return found


def _write(path: Path, record: object) -> None:
    """Whole or not at all."""
    growing = path.with_name(f".{path.name}.growing")
    growing.write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(growing, path)
