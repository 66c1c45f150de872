"""ROS 2 Jazzy from wheels, for machines that have no ROS: fills what the wheels miss and nothing more."""
