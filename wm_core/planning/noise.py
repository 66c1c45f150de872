"""Noise for candidate sequences: white, or coloured so that neighbouring steps go the same way (iCEM)."""

from __future__ import annotations

import numpy as np

from wm_core.robot.rotation import Array


def coloured(shape: tuple[int, int, int], exponent: float, generator: np.random.Generator) -> Array:
    """Normal noise (N, H, A) of unit deviation with power 1 / f^exponent along H; 0 is white, 2 a smooth drift."""
    count, horizon, dims = shape
    if exponent == 0.0 or horizon == 1:
        return generator.standard_normal(shape)
    frequencies = np.fft.rfftfreq(horizon)
    frequencies[0] = 1.0 / horizon
    power = frequencies ** (-0.5 * exponent)
    spectrum = power * (generator.standard_normal((count, dims, len(power))) + 1j * generator.standard_normal((count, dims, len(power))))
    # A real signal has no imaginary part at the mean and, where the horizon is even, at the highest frequency.
    real = [0, len(power) - 1] if horizon % 2 == 0 else [0]
    spectrum[..., real] = np.sqrt(2.0) * spectrum[..., real].real
    once = np.ones(len(power)) * 2.0
    once[real] = 1.0
    deviation = np.sqrt(2.0 * np.sum(once * power**2)) / horizon
    return np.fft.irfft(spectrum, n=horizon, axis=2).transpose(0, 2, 1) / deviation
