"""Protects the moment tokens: windows of all cells together weigh every place alike, and amount and place can be read linearly."""

import pytest
import torch
from torch.nn.functional import conv_transpose2d

from wm_core.vision.moments import MomentBackbone, moment_windows


@pytest.mark.parametrize("places", [1, 2, 3, 6])
def test_the_windows_weigh_every_place_alike(places):
    amount = moment_windows(places)[:1, None]
    cover = conv_transpose2d(torch.ones(1, 1, 5, 5), amount, stride=places)
    inner = cover[0, 0, places:-places, places:-places]
    torch.testing.assert_close(inner, torch.full_like(inner, float(inner.mean())))


def test_a_token_sums_up_how_much_there_is_and_where():
    backbone = MomentBackbone(48, 8, 4, 1, 24, 8)
    backbone.filters = torch.nn.Identity()
    backbone.head = torch.nn.Identity()
    things = torch.zeros(1, 1, 12, 12)
    things[0, 0, 4, 3] = 1.0  # places 0 .. 5 are the first cell's: row 4, column 3
    amount, right, down = backbone(things).patches[0, 0]
    half = 6.0  # places from a window's middle, between places 2 and 3, to its end
    assert float(right / amount) == pytest.approx(2.0 * (3.0 - 2.5) / half, abs=1e-5)
    assert float(down / amount) == pytest.approx(2.0 * (4.0 - 2.5) / half, abs=1e-5)
    below = backbone(things).patches[0, 2]
    assert float(below[0] / amount) == pytest.approx((1.0 - 4.5 / half) / (1.0 - 1.5 / half), abs=1e-5)
    twice = backbone(2.0 * things).patches
    torch.testing.assert_close(twice, 2.0 * backbone(things).patches)
