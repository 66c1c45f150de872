"""In work (helper)."""
