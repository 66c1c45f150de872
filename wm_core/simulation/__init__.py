"""The embedded arm: one table of constants, a MuJoCo scene, ray cameras."""
