"""LeRobot datasets in and out: collecting with the embedded arm, exact reading, mixtures, token cache, inspection."""
