"""Training: encoders and decoders, the world model, fine-tuning."""
