"""Protects the objective: the known-answer oracle, and the traps of shortcut forcing that lie in labels, targets and weights.

For Gaussian data N(mu, s^2) the perfect shortcut network is known in closed form. Flow maps compose, so its bootstrap loss is zero.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import awake, small_config
from torch import Tensor

from wm_core.errors import WorldModelError
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.ema import Ema
from wm_core.world_model.layout import Layout
from wm_core.world_model.model_config import ObjectiveConfig
from wm_core.world_model.normalisation import RunningStatistics, Statistics
from wm_core.world_model.objective import training_loss
from wm_core.world_model.sampler import corrupt, sample
from wm_core.world_model.shortcut import Labels, Schedule, bootstrap_target, draw_labels, mix, shortcut_errors, weight

MU, S = 1.45, 0.3
SCHEDULE = Schedule(64)
Network = Callable[[Tensor, Tensor, Tensor], Tensor]


def spread(tau: Tensor) -> Tensor:
    return ((1 - tau) ** 2 + (tau * S) ** 2).sqrt()


def oracle(z: Tensor, signal: Tensor, step: Tensor) -> Tensor:
    """The perfect shortcut network of N(MU, S^2)."""
    tau, d = SCHEDULE.tau(signal, z), SCHEDULE.size(step, z)
    reached = (tau + d) * MU + spread(tau + d) / spread(tau) * (z - tau * MU)
    return z + (1 - tau) * (reached - z) / d


def posterior_mean(z: Tensor, signal: Tensor, step: Tensor) -> Tensor:
    """What the flow loss alone teaches: E[z1 | z~], whatever the step size."""
    tau = SCHEDULE.tau(signal, z)
    return MU + tau * S**2 / spread(tau) ** 2 * (z - tau * MU)


def gaussian_frames(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = MU + S * torch.randn(count, 4, 3, 2, generator=generator, dtype=torch.float64)
    return clean, torch.randn(clean.shape, generator=generator, dtype=torch.float64)


def labels_at(step: int, shape: tuple[int, int], seed: int = 0) -> Labels:
    size = 64 >> step
    signal = torch.randint(0, 64 // size, shape, generator=torch.Generator().manual_seed(seed)) * size
    return Labels(signal, torch.full(shape, step))


def from_oracle(network: Callable[[Tensor, Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    def at(z: Tensor, signal: int, step: int) -> Tensor:
        return network(z, torch.full(z.shape[:2], signal), torch.full(z.shape[:2], step))

    return sample(at, noise, steps, SCHEDULE)


@pytest.mark.parametrize("step", range(6))
def test_the_oracle_has_no_bootstrap_loss_at_any_step_size(step: int) -> None:
    clean, noise = gaussian_frames(200)
    errors = shortcut_errors(oracle, oracle, clean, noise, labels_at(step, (200, 4)), SCHEDULE)
    assert errors.coarse.all()
    assert errors.error.mean() < 1e-25


@pytest.mark.parametrize("steps", [1, 2, 4, 64])
def test_the_oracle_is_sampled_with_its_mean_and_deviation(steps: int) -> None:
    _, noise = gaussian_frames(20_000)
    sampled = from_oracle(oracle, noise, steps)
    assert sampled.mean().item() == pytest.approx(MU, rel=0.01)
    assert sampled.std().item() == pytest.approx(S, rel=0.01)


def test_known_wrong_targets_are_as_far_from_the_oracle_as_is_known() -> None:
    clean, noise = gaussian_frames(20_000)
    labels = labels_at(2, (20_000, 4))  # d = 1/4
    tau = SCHEDULE.tau(labels.signal, clean)
    z = mix(clean, noise, tau)
    right = bootstrap_target(oracle, z, labels, SCHEDULE)
    velocity = (right - z) / (1 - tau)
    finer = labels.step + 1
    first = oracle(z, labels.signal, finer) - z
    moved = z + first / 8
    undivided = (first + oracle(moved, labels.signal + 8, finer) - moved) / 2
    prediction = oracle(z, labels.signal, labels.step)
    wrongs = {"z~ + v": z + velocity, "without 1 / (1 - tau)": z + undivided, "(1 - tau) twice": z + (1 - tau) ** 2 * velocity}
    distances = {name: (prediction - wrong).square().mean().item() for name, wrong in wrongs.items()}
    assert distances == pytest.approx({"z~ + v": 0.51, "without 1 / (1 - tau)": 0.008, "(1 - tau) twice": 0.087}, rel=0.03)


def test_trap_01_context_carries_a_tenth_of_noise_not_nine() -> None:
    assert SCHEDULE.context_signal(0.1) == 57  # floor(0.9 * 64)
    clean, noise = torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    context, _, _ = corrupt(clean, noise, 0.1, SCHEDULE)
    assert context.unique().item() == pytest.approx(57 / 64)


@given(share=st.floats(0.0, 0.5), finest=st.sampled_from([2, 8, 64, 256]))
def test_trap_02_the_context_label_is_its_corruption_and_a_row_that_is_trained(share: float, finest: int) -> None:
    schedule = Schedule(finest)
    clean, noise = torch.full((1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1), -3.0)
    context, signal, step = corrupt(clean, noise, share, schedule)
    assert (context.item() + 3.0) / 8.0 == pytest.approx(signal / finest, abs=1e-6)
    assert 0 <= signal < finest
    assert step == schedule.finest_step
    assert abs(signal / finest - (1 - share)) <= 1 / finest + 1e-9


class Recorder:
    """A network that notes the labels it is shown."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor, int]] = []

    def __call__(self, noised: Tensor, signal: Tensor, step: Tensor, _: Conditioning, layout: object, __: object) -> Tensor:
        first = layout.first_output  # type: ignore[attr-defined]
        self.calls.append((signal, step, first))
        return torch.zeros_like(noised[:, first:])


def test_trap_03_training_shows_every_pair_of_labels_that_inference_uses() -> None:
    config, recorder = small_config(), Recorder()
    conditioning = Conditioning(torch.zeros(8, 6, 3), torch.ones(8, 6, dtype=torch.bool))
    generator, latents = torch.Generator().manual_seed(0), torch.zeros(8, 6, 6, 5)
    for _ in range(400):
        training_loss(recorder, recorder, latents, conditioning, config, generator)
    students = recorder.calls[2::3]  # teacher, teacher, student
    exact = [(signal, step) for signal, step, first in students if first]
    assert 0.2 < len(exact) / 400 < 0.3
    seen = set()
    for signal, step in exact:
        assert (signal[:, :6] == 57).all()
        assert (step[:, :6] == 6).all()
        seen |= set(zip(signal[:, 6:].flatten().tolist(), step[:, 6:].flatten().tolist(), strict=True))
    for exponent in (0, 1, 2, 6):  # K = 1, 2, 4, 64
        size = 64 >> exponent
        assert seen >= {(signal, exponent) for signal in range(0, 64, size)}
    forced = [(signal, step) for signal, step, first in students if not first]
    assert any(((signal == 57) & (step == 6)).any() for signal, step in forced)


@pytest.mark.parametrize("steps", [1, 2, 4, 64])
def test_trap_04_the_sampler_starts_at_pure_noise_and_ends_before_clean(steps: int) -> None:
    seen: list[tuple[int, int]] = []

    def network(z: Tensor, signal: int, step: int) -> Tensor:
        seen.append((signal, step))
        return z + 1.0

    noise = torch.zeros(2, 1)
    sample(network, noise, steps, SCHEDULE)
    assert [signal / 64 for signal, _ in seen] == [index / steps for index in range(steps)]
    assert {2.0**-step for _, step in seen} == {1 / steps}


def test_the_last_step_returns_the_prediction_exactly() -> None:
    target = torch.tensor([[0.1, 1 / 3, -7e5]])
    assert torch.equal(sample(lambda z, _, __: target, torch.randn(1, 3), 4, SCHEDULE), target)


def test_trap_05_coarse_steps_are_not_pulled_to_the_clean_latent() -> None:
    clean, noise = gaussian_frames(500)
    labels = labels_at(2, (500, 4))
    errors = shortcut_errors(oracle, oracle, clean, noise, labels, SCHEDULE)
    flow = (oracle(mix(clean, noise, SCHEDULE.tau(labels.signal, clean)), labels.signal, labels.step) - clean).square().mean()
    assert errors.error.mean() < 1e-25
    assert flow > 0.01


def test_trap_06_the_weight_enters_once_and_velocities_are_divided() -> None:
    clean, noise = gaussian_frames(100)
    labels = labels_at(3, (100, 4))
    tau = SCHEDULE.tau(labels.signal, clean)
    z, prediction = mix(clean, noise, tau), torch.zeros_like(clean)
    velocity = (oracle(z, labels.signal, labels.step) - z) / (1 - tau)
    squared = ((prediction - z) / (1 - tau) - velocity).square().mean((-2, -1)) * (1 - tau[..., 0, 0]) ** 2  # equation 7
    errors = shortcut_errors(lambda *_: prediction, oracle, clean, noise, labels, SCHEDULE)
    torch.testing.assert_close(errors.loss, (0.9 * tau[..., 0, 0] + 0.1) * squared)


def test_trap_07_tau_zero_is_noise_and_clean_frames_weigh_more() -> None:
    clean, noise = torch.randn(3, 4), torch.randn(3, 4)
    assert torch.equal(mix(clean, noise, torch.tensor(1.0)), clean)
    assert torch.equal(mix(clean, noise, torch.tensor(0.0)), noise)
    assert weight(torch.tensor(1.0)) == pytest.approx(1.0)
    assert weight(torch.tensor(0.0)) == pytest.approx(0.1)


def test_trap_08_without_bootstrap_few_steps_lose_the_spread_of_futures() -> None:
    _, noise = gaussian_frames(5_000)
    kept = {steps: from_oracle(posterior_mean, noise, steps).std().item() / S for steps in (1, 4, 64)}
    assert kept[1] < 1e-6
    assert kept[4] < 0.8
    assert kept[64] > 0.9
    drawn = draw_labels((64, 64), SCHEDULE, ObjectiveConfig("shortcut", 4, 0.1), torch.Generator().manual_seed(0))
    assert ((drawn.step < 6).double().mean().item()) == pytest.approx(0.25, abs=0.03)


def test_trap_09_one_step_can_be_labelled_drawn_and_embedded() -> None:
    config = small_config()
    assert SCHEDULE.step_of(1) == 0
    assert awake(config).embedding.step.num_embeddings == 7
    assert awake(config).embedding.signal.num_embeddings == 64
    drawn = draw_labels((64, 64), SCHEDULE, config.objective, torch.Generator().manual_seed(0))
    assert (drawn.signal[drawn.step == 0] == 0).all()
    assert (drawn.step == 0).any()


@pytest.mark.parametrize("distribution", ["mostly_finest", "uniform"])
def test_a_step_that_is_never_sampled_with_is_not_learned(distribution: str) -> None:
    config = small_config(single_step="mean", step_distribution=distribution).objective
    drawn = draw_labels((64, 64), SCHEDULE, config, torch.Generator().manual_seed(0))
    assert set(drawn.step.unique().tolist()) == {1, 2, 3, 4, 5, 6}, (
        "one step is sampled with the finest label, and no more with the largest"
    )


@pytest.mark.parametrize("steps", [0, 3, 128, -4])
def test_steps_without_a_label_are_refused(steps: int) -> None:
    with pytest.raises(WorldModelError, match="powers of two"):
        SCHEDULE.step_of(steps)


def test_trap_10_the_teacher_is_the_average_in_eval_mode_without_a_graph() -> None:
    config = small_config(inference_fraction=1.0)
    student = awake(config).train()
    ema = Ema(student, 0.999)
    assert not ema.network.training
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    graphs: list[bool] = []
    conditioning = Conditioning(torch.zeros(8, 5, 3), torch.ones(8, 5, dtype=torch.bool))

    def teacher(*arguments: object) -> Tensor:
        graphs.append(torch.is_grad_enabled())
        return ema.network(*arguments)

    generator = torch.Generator().manual_seed(0)
    training_loss(student, teacher, torch.randn(8, 5, 6, 5), conditioning, config, generator).total.backward()
    assert graphs == [False, False]
    assert all(parameter.grad is None for parameter in ema.network.parameters())
    assert student.embedding.latents.weight.grad is not None
    with pytest.raises(WorldModelError, match="training mode"):
        training_loss(student, ema.network.train(), torch.randn(8, 5, 6, 5), conditioning, config, generator)


def test_trap_10_the_average_follows_and_keeps_its_own_weights() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    ema = Ema(network, 0.9)
    torch.nn.init.ones_(network.weight)
    means = []
    for _ in range(200):
        ema.update(network)
        means.append(ema.network.weight.item())
    assert means[0] == pytest.approx(1 - 2 / 11)
    assert means == sorted(means)
    assert means[-1] == pytest.approx(1.0, abs=1e-4)


def test_trap_11_mix_teacher_and_loss_stay_in_fp32_under_autocast() -> None:
    seen: list[tuple[torch.dtype, bool]] = []
    matrix = torch.full((2, 2), 0.1)

    def network(z: Tensor, _: Tensor, __: Tensor) -> Tensor:
        out = z @ matrix
        seen.append((z.dtype, out.dtype == torch.bfloat16))
        return out

    clean, noise = torch.randn(4, 3, 5, 2), torch.randn(4, 3, 5, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        errors = shortcut_errors(network, network, clean, noise, labels_at(2, (4, 3)), SCHEDULE)
    assert seen == [(torch.float32, False), (torch.float32, False), (torch.float32, True)]  # teacher, teacher, student
    assert errors.loss.dtype == torch.float32


def test_trap_12_huge_channels_are_normalised_and_come_back() -> None:
    raw = torch.randn(50, 7, 3) * torch.tensor([1.0, 300.0, 0.01]) + torch.tensor([0.0, 900.0, 5.0])
    running = RunningStatistics(3)
    for part in raw.split(13):
        running.add(part)
    statistics = Statistics.of_record(running.result().record())
    normal = statistics.normalise(raw)
    torch.testing.assert_close(normal.mean((0, 1)), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(normal.flatten(0, 1).std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(statistics.denormalise(normal), raw, rtol=1e-4, atol=1e-4)


def test_a_constant_channel_is_not_blown_up() -> None:
    running = RunningStatistics(2)
    running.add(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    assert running.result().std.tolist() == [1.0, 1.0]


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(WorldModelError, match="1 rows"):
        RunningStatistics(2).add(torch.tensor([[0.0, 1.0], [0.0, float("nan")]]))


@settings(max_examples=60)
@given(
    distribution=st.sampled_from(["uniform", "power", "logit_normal"]),
    low=st.floats(0.0, 0.8),
    power=st.floats(0.5, 8.0),
    rows=st.floats(0.05, 1.0),
    seed=st.integers(0, 1000),
)
def test_every_draw_is_a_signal_on_the_grid_of_its_step(distribution: str, low: float, power: float, rows: float, seed: int) -> None:
    bias = {"tau_min": low, "tau_distribution": distribution, "tau_power": power, "bootstrap_rows": rows}
    config = small_config(**bias).objective
    drawn = draw_labels((32, 16), SCHEDULE, config, torch.Generator().manual_seed(seed))
    size = 64 >> drawn.step
    assert (drawn.signal % size == 0).all()
    assert (drawn.signal >= 0).all()
    assert (drawn.signal + size <= 64).all()
    assert 0.1 < (drawn.step < 6).double().mean() < 0.4


def test_a_biased_draw_is_cleaner_and_still_starts_from_noise() -> None:
    plain = draw_labels((400, 100), SCHEDULE, small_config().objective, torch.Generator().manual_seed(0))
    config = small_config(tau_min=0.5, tau_distribution="power", tau_power=2.0).objective
    biased = draw_labels((400, 100), SCHEDULE, config, torch.Generator().manual_seed(0))
    finest = (plain.step == 6) & (biased.step == 6)
    assert biased.signal[finest].double().mean() > plain.signal[finest].double().mean() + 10
    assert plain.signal[finest].double().mean() == pytest.approx(31.5, abs=0.5)
    start = ((biased.signal == 0) & finest).sum() / finest.sum()
    assert start == pytest.approx(0.1 / 64, rel=0.3)  # a tenth of the frames is drawn without bias


def test_losses_are_told_apart_by_branch_and_by_label() -> None:
    config = small_config(inference_fraction=1.0)
    known = torch.zeros(8, 5, dtype=torch.bool)
    known[:3, 2] = True
    conditioning = Conditioning(torch.zeros(8, 5, 3), known)
    network = awake(config)
    loss = training_loss(network, network, torch.randn(8, 5, 6, 5), conditioning, config, torch.Generator().manual_seed(1))
    counts = {name: int(term[1]) for name, term in loss.terms.items()}
    assert set(counts) == {f"inference/{branch}/{name}" for branch in ("flow", "bootstrap") for name in ("labelled", "unlabelled")}
    assert counts["inference/flow/labelled"] + counts["inference/bootstrap/labelled"] == 3 * 4  # the first frame is never predicted
    assert counts["inference/flow/unlabelled"] + counts["inference/bootstrap/unlabelled"] == 5 * 4
    before = training_loss(network, None, torch.randn(8, 5, 6, 5), conditioning, config, torch.Generator().manual_seed(1))
    assert int(before.terms["inference/bootstrap/labelled"][1]) == 0


def test_every_clip_of_a_batch_comes_to_learn_coarse_steps_from_its_own_target() -> None:
    """Clip n has n for latents and actions; both networks read it off the actions, and the student errs by 1 where an action is known."""
    config, numbers, generator = small_config(bootstrap_rows=0.25), torch.arange(4.0), torch.Generator().manual_seed(0)
    conditioning = Conditioning(numbers.view(4, 1, 1).repeat(1, 5, 3), (numbers == 2.0)[:, None].repeat(1, 5))
    coarse, taught, sums = set[float](), set[int](), dict[str, Tensor]()

    def teacher(noised: Tensor, _: Tensor, __: Tensor, told: Conditioning, layout: Layout, ___: object) -> Tensor:
        taught.add(len(noised))
        return told.actions[:, 0, 0].view(-1, 1, 1, 1).expand_as(noised[:, layout.first_output :])

    def student(noised: Tensor, _: Tensor, step: Tensor, told: Conditioning, layout: Layout, __: object) -> Tensor:
        coarse.update(told.actions[(step < 6).any(dim=1), 0, 0].tolist())
        return (told.actions[:, 0, 0] + told.known[:, 0]).view(-1, 1, 1, 1).expand_as(noised[:, layout.first_output :])

    for _ in range(100):
        loss = training_loss(student, teacher, numbers.view(4, 1, 1, 1).repeat(1, 5, 6, 5), conditioning, config, generator)
        for name, term in loss.terms.items():
            sums[name] = sums.get(name, torch.zeros(2)) + term
    assert coarse == {0.0, 1.0, 2.0, 3.0}, "a mixture may have its labelled clip at the same place of every batch"
    assert taught == {1}, "the teacher is asked about a quarter of the clips"
    assert len(sums) == 8
    for name, (error, frames) in sums.items():
        assert frames > 0, name
        assert (error / frames).item() == pytest.approx(float(name.endswith("/labelled")), abs=1e-4), name
