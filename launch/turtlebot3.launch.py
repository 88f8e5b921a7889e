# SPDX-License-Identifier: Apache-2.0
"""Map with a simulated TurtleBot 3 waffle in Gazebo: ``ros2 launch ttt3r_ros turtlebot3.launch.py``.

Needs ``ros-$ROS_DISTRO-turtlebot3-gazebo``. The default of TURTLEBOT3_MODEL is waffle; the burger has no camera.
The robot publishes odom -> base; the node publishes map -> odom.
"""

from launch import LaunchDescription
from launch.actions import SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable

from ttt3r_ros.ros.launch_support.wrapping import include_driver, mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/camera/image_raw", "Image topic."),
    "camera_info_topic": ("/camera/camera_info", "CameraInfo topic."),
    # Images of Gazebo have the frame camera_rgb_frame with x forward. Its optical frame is on /tf too.
    "camera_frame": ("camera_rgb_optical_frame", "Optical frame of the camera."),
    "tf_mode": ("map_odom", "Use the odometry of the robot."),
    "base_frame": ("base_footprint", "Robot frame."),
    "use_sim_time": ("true", "Use the time of the simulation."),
    "params_file": ("wheeled.yaml", "Parameters: scale from wheel odometry."),
}


def generate_launch_description() -> LaunchDescription:
    # turtlebot3_gazebo requires the variable.
    model = SetEnvironmentVariable(
        "TURTLEBOT3_MODEL", EnvironmentVariable("TURTLEBOT3_MODEL", default_value="waffle")
    )
    simulation = include_driver("turtlebot3_gazebo", "turtlebot3_house.launch.py", {}, model)
    return mapping_launch(DEFAULTS, simulation)
