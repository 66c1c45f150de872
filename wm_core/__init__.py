"""Everything of wm_ros that is not ROS: vision, world model, planning, robot, simulation, data, training, evaluation."""
