"""Protects the transformer: who sees whom, labels and actions frame by frame, positions on several grids, and the capped logits."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_models import awake, small_config
from torch import Tensor

from wm_core.errors import ConfigurationError, VisionError
from wm_core.vision.tokens import pool
from wm_core.world_model.attention import Attention, own_and_shared
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.embedding import PosedPlaces, plane_features
from wm_core.world_model.layout import causal, committed_and_noised
from wm_core.world_model.rotary import cell_centres, plane_rotation, rotate, time_rotation
from wm_core.world_model.transformer import Transformer

CLIPS, FRAMES = 2, 5


def inputs(frames: int = FRAMES, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Conditioning]:
    generator = torch.Generator().manual_seed(seed)
    noised = torch.randn(CLIPS, frames, 6, 5, generator=generator)
    signal = torch.randint(0, 64, (CLIPS, frames), generator=generator)
    step = torch.randint(0, 7, (CLIPS, frames), generator=generator)
    actions = torch.randn(CLIPS, frames, 3, generator=generator)
    return noised, signal, step, Conditioning(actions, torch.ones(CLIPS, frames, dtype=torch.bool))


def run(network: Transformer, noised: Tensor, signal: Tensor, step: Tensor, conditioning: Conditioning) -> Tensor:
    with torch.no_grad():
        return network(noised, signal, step, conditioning, causal(noised.shape[1], network.config.context))


def changed_frames(before: Tensor, after: Tensor) -> list[int]:
    return [frame for frame in range(before.shape[1]) if not torch.allclose(before[:, frame], after[:, frame], atol=1e-6)]


@pytest.mark.parametrize("frame", range(FRAMES))
def test_a_frame_is_seen_by_itself_and_later_frames_only(frame: int) -> None:
    network, (noised, *rest) = awake(small_config()), inputs()
    other = noised.clone()
    other[:, frame, 3] += 1.0
    assert changed_frames(run(network, noised, *rest), run(network, other, *rest)) == list(range(frame, FRAMES))


@pytest.mark.parametrize("frame", range(FRAMES))
def test_trap_13_an_action_leads_into_the_next_frame(frame: int) -> None:
    network, (noised, signal, step, conditioning) = awake(small_config()), inputs()
    actions = conditioning.actions.clone()
    actions[:, frame] += 1.0
    other = dataclasses.replace(conditioning, actions=actions)
    before, after = run(network, noised, signal, step, conditioning), run(network, noised, signal, step, other)
    assert changed_frames(before, after) == list(range(frame + 1, FRAMES))


def test_trap_16_unknown_actions_are_the_null_token_frame_by_frame() -> None:
    network, (noised, signal, step, conditioning) = awake(small_config()), inputs()
    known = conditioning.known.clone()
    known[:, 2] = False
    actions = conditioning.actions.clone()
    actions[:, 2] = float("nan")
    partly = run(network, noised, signal, step, Conditioning(actions, known))
    assert torch.isfinite(partly).all()
    assert changed_frames(run(network, noised, signal, step, conditioning), partly) == [3, 4]
    with torch.no_grad():
        network.embedding.action.null += 1.0
    assert changed_frames(partly, run(network, noised, signal, step, Conditioning(actions, known))) == [3, 4]


def test_trap_16_the_first_frame_has_the_start_token_and_unknown_values_take_no_gradient() -> None:
    network, (noised, signal, step, conditioning) = awake(small_config()), inputs()
    before = run(network, noised, signal, step, conditioning)
    with torch.no_grad():
        network.embedding.start += 1.0
    assert changed_frames(before, run(network, noised, signal, step, conditioning))[0] == 0
    unknown = Conditioning(torch.full_like(conditioning.actions, float("nan")), torch.zeros_like(conditioning.known))
    network(noised, signal, step, unknown, causal(FRAMES, 6)).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters() if parameter.grad is not None)


def test_trap_16_registers_speak_to_other_frames_through_attention_alone() -> None:
    network, (noised, *rest) = awake(small_config(change=0.0)), inputs()
    for index in network.time_layers:
        with torch.no_grad():
            network.blocks[index].attention.out.weight.zero_()  # type: ignore[union-attr,operator]
    other = noised.clone()
    other[:, 1] += 1.0
    assert changed_frames(run(network, noised, *rest), run(network, other, *rest)) == [1]


def test_labels_are_read_frame_by_frame() -> None:
    network, (noised, signal, step, conditioning) = awake(small_config()), inputs()
    other = signal.clone()
    other[:, 3] = (other[:, 3] + 20) % 64
    before = run(network, noised, signal, step, conditioning)
    assert changed_frames(before, run(network, noised, other, step, conditioning)) == [3, 4]


def test_a_frame_beyond_the_window_is_not_seen_directly() -> None:
    """With one time layer the receptive field is the window itself."""
    network, (noised, *rest) = awake(small_config(layers=2, time_every=2)), inputs(frames=9)
    other = noised.clone()
    other[:, 1] += 1.0
    assert changed_frames(run(network, noised, *rest), run(network, other, *rest)) == [1, 2, 3, 4, 5, 6]


def test_the_parallel_layout_is_many_sequences_of_the_inference_pattern() -> None:
    network, (noised, signal, step, conditioning) = awake(small_config()), inputs()
    committed = torch.randn_like(noised)
    context_signal, context_step = torch.full_like(signal, 57), torch.full_like(step, 6)
    both = torch.cat([committed, noised], 1), torch.cat([context_signal, signal], 1), torch.cat([context_step, step], 1)
    with torch.no_grad():
        parallel = network(*both, conditioning, committed_and_noised(FRAMES, 6))
    for frame in range(FRAMES):
        parts = [torch.cat([context[:, :frame], own[:, frame:]], 1) for context, own in
                 ((committed, noised), (context_signal, signal), (context_step, step))]  # fmt: skip
        alone = run(network, *parts, conditioning)
        torch.testing.assert_close(parallel[:, frame], alone[:, frame], atol=1e-5, rtol=1e-5)


def test_attention_logits_stay_below_the_soft_cap() -> None:
    attention = Attention(32, 4, 2, soft_cap=5.0)
    with torch.no_grad():
        attention.gain.fill_(1e4)
    seen: list[Tensor] = []

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        logits = torch.einsum("bfshd,bftgd->bfshgt", query, key)
        seen.append(logits)
        return query

    cos, sin = plane_rotation((3, 2), 0, 1, 8)
    attention(100.0 * torch.randn(2, 3, 7, 32), (cos[:, None], sin[:, None]), attend)
    assert 4.0 < seen[0].abs().max() <= 5.0 + 1e-4
    assert Attention(32, 4, 2, soft_cap=0.0).logit_scale().tolist() == pytest.approx([8**0.5] * 4)


def test_rotations_depend_on_distance_alone_however_long_a_stream_runs() -> None:
    query, key = torch.randn(1, 64), torch.randn(1, 64)
    products = []
    for start in (0, 1_000, 10_000_000):
        cos, sin = time_rotation(torch.tensor([start, start + 7]), 64)
        products.append((rotate(query, (cos[1:], sin[1:])) * rotate(key, (cos[:1], sin[:1]))).sum())
    torch.testing.assert_close(torch.stack(products), products[0].expand(3), atol=2e-5, rtol=0)


def test_grids_share_one_picture() -> None:
    coarse, fine = cell_centres((2, 2)), cell_centres((4, 4))
    torch.testing.assert_close(fine.view(2, 2, 2, 2, 2).mean((1, 3)).view(4, 2), coarse)
    cos, _ = plane_rotation((2, 2), before=3, after=2, head_dim=8)
    assert cos.shape == (9, 4)
    assert (cos[:3] == 1).all()
    assert (cos[7:] == 1).all()


def test_one_network_runs_on_every_grid_and_pooling_averages() -> None:
    config, (noised, *rest) = small_config(grids=((4, 4), (2, 2))), inputs()
    network, picture = awake(config), torch.arange(16.0).view(1, 1, 16, 1).expand(CLIPS, FRAMES, 16, 5)
    pooled = pool(picture, (4, 4), (2, 2))
    assert pooled[0, 0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]
    signal, step, conditioning = rest
    for grid, latents in (((4, 4), picture), ((2, 2), pooled)):
        assert network(latents, signal, step, conditioning, causal(FRAMES, 6), grid).shape == latents.shape
    with pytest.raises(VisionError, match=r"not of this grid.*\(4, 4\)"):
        pool(noised, (4, 4), (2, 2))


def test_proprioception_is_null_where_it_is_not_known() -> None:
    network, (noised, signal, step, conditioning) = awake(small_config(proprioception_dim=4)), inputs()
    reading, known = torch.randn(CLIPS, FRAMES, 4), torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    nothing = run(network, noised, signal, step, conditioning)
    reading[:, 1] = float("nan")
    hidden = run(network, noised, signal, step, dataclasses.replace(conditioning, proprioception=reading, proprioception_known=known))
    assert changed_frames(nothing, hidden) == []
    known[:, 3] = True
    shown = run(network, noised, signal, step, dataclasses.replace(conditioning, proprioception=reading, proprioception_known=known))
    assert changed_frames(nothing, shown) == [3, 4]


def test_a_reading_tells_each_place_of_its_own_and_an_unknown_one_nothing() -> None:
    """Oracle: the sum over all products of a wave of the reading and a feature of the place."""
    posed = PosedPlaces(width=3, dim=4)
    reading, places = torch.randn(2, 5, 3), plane_features((3, 2))
    wanted = torch.stack([torch.stack([torch.einsum("w,c,wcd->d", one, place, posed.weight) for place in places]) for one in reading[1]])
    torch.testing.assert_close(posed(reading, places)[1], wanted)
    assert not posed(torch.zeros(1, 1, 3), places).any()


def test_the_wide_head_predicts_within_the_frame() -> None:
    network, (noised, *rest) = awake(small_config(head_layers=2, head_dim=48)), inputs()
    other = noised.clone()
    other[:, 4] += 1.0
    before = run(network, noised, *rest)
    assert before.shape == noised.shape
    assert changed_frames(before, run(network, other, *rest)) == [4]


def test_shared_keys_give_what_copied_keys_give() -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    query, own_keys, own_values = random(2, 3, 2, 5, 4, 8), random(2, 3, 2, 5, 6, 8), random(2, 3, 2, 5, 6, 8)
    keys, values = random(2, 3, 2, 9, 8), random(2, 3, 2, 9, 8)
    own_mask, shared_mask = torch.zeros(4, 6), torch.zeros(4, 9)
    own_mask[:, 4:] = shared_mask[1, :] = shared_mask[2, :7] = float("-inf")
    merged = own_and_shared(query, (own_keys, own_values, own_mask), (keys, values, shared_mask))
    copied = [torch.cat([shared.unsqueeze(3).expand(-1, -1, -1, 5, -1, -1), own], dim=4) for shared, own in
              ((keys, own_keys), (values, own_values))]  # fmt: skip
    mask = torch.cat([shared_mask, own_mask], dim=1)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *copied, attn_mask=mask, scale=1.0)
    torch.testing.assert_close(merged, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value"),
    [("kv_heads", 3), ("dim", 36), ("finest_steps", 48), ("time_every", 9), ("grids", ((2, 2), (3, 3))), ("sampling_steps", 128)],
)
def test_sizes_that_do_not_fit_together_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=key):
        small_config(**{key: value})
