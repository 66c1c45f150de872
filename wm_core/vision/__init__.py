"""Pixels to tokens with frozen encoders, tokens back to pixels with decoders for looking."""
