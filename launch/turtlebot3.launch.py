# SPDX-License-Identifier: Apache-2.0
"""Map with a simulated TurtleBot 3 waffle in Gazebo: ``ros2 launch ttt3r_ros turtlebot3.launch.py``.

Needs ``ros-$ROS_DISTRO-turtlebot3-gazebo``. TURTLEBOT3_MODEL is waffle unless it is set: the burger has no camera.
Its wheels give odom -> base; the node gives map -> odom.
"""

from launch import LaunchDescription
from launch.actions import SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable

from ttt3r_ros.ros.launch_support.wrapping import include_driver, mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/camera/image_raw", "Image topic."),
    "camera_info_topic": ("/camera/camera_info", "Calibration."),
    # Gazebo's images name camera_rgb_frame, whose x looks forward; the optical frame below it is on /tf as well.
    "camera_frame": ("camera_rgb_optical_frame", "Optical frame of the camera."),
    "tf_mode": ("map_odom", "The robot has odometry."),
    "base_frame": ("base_footprint", "Body of the robot."),
    "use_sim_time": ("true", "Follow the simulation."),
    "params_file": ("wheeled.yaml", "Scale from the wheels."),
}


def generate_launch_description() -> LaunchDescription:
    # turtlebot3_gazebo does not start without it.
    model = SetEnvironmentVariable(
        "TURTLEBOT3_MODEL", EnvironmentVariable("TURTLEBOT3_MODEL", default_value="waffle")
    )
    simulation = include_driver("turtlebot3_gazebo", "turtlebot3_house.launch.py", {}, model)
    return mapping_launch(DEFAULTS, simulation)
