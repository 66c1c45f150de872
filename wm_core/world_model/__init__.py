"""The world model: latent tokens and actions in, the next frames' latent tokens out."""
