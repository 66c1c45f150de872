"""The robot as mathematics: kinematics, limits and the safety guard. Pure functions; time is passed in."""
