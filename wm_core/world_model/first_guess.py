"""The guess that the network corrects: what a frame's own noised latents and the frame before it say, weighed by how sure either is.

With normalised latents (unit deviation) that change from frame to frame with variance v, the frame before predicts z1 with variance v
(plus what its own noise leaves open), and z~ / tau observes it with variance ((1 - tau) / tau)^2. Their weighted mean is the best linear
estimate. It is part of the network f and leaves the objective as it is: f(z~, tau, d, a) = guess + head.
"""

from __future__ import annotations

import torch
from torch import Tensor


def first_guess(noised: Tensor, tau: Tensor, before: Tensor, tau_before: Tensor, known: Tensor, change: float) -> Tensor:
    """Clean latents (B, F, P, D) of noised ones, given those before them; tau broadcasts against (B, F), known (F,) bool.

    `change` is v; a frame that none comes before (known False) is guessed from itself.
    """
    tau, tau_before = tau[..., None, None], tau_before[..., None, None]
    signal = tau_before.square() + (1.0 - tau_before).square()  # variance of the noised frame before
    seen = known[:, None, None]
    expected = torch.where(seen, before * (tau_before / signal), 0.0)
    open_variance = torch.where(seen, change + (1.0 - tau_before).square() / signal, 1.0)
    noise = (1.0 - tau).square()
    return (expected * noise + open_variance * tau * noised) / (noise + open_variance * tau.square())
