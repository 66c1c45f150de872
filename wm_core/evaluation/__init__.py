"""What happened and how good it was: metrics, replay, and reports with pictures."""
