"""The `wm` command line: a thin face over the rooms of wm_core."""
