# SPDX-License-Identifier: Apache-2.0
"""Map with a simulated TurtleBot 4 in Gazebo: ``ros2 launch ttt3r_ros turtlebot4.launch.py``.

Needs ``ros-$ROS_DISTRO-turtlebot4-gz-bringup``. The robot publishes odom -> base; the node publishes map -> odom.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import include_driver, mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/oakd/rgb/preview/image_raw", "Image topic."),
    "camera_info_topic": ("/oakd/rgb/preview/camera_info", "CameraInfo topic."),
    # Images of Gazebo have the frame turtlebot4/oakd_rgb_camera_frame/rgbd_camera with x forward.
    "camera_frame": ("oakd_rgb_camera_optical_frame", "Optical frame of the camera."),
    "tf_mode": ("map_odom", "Use the odometry of the robot."),
    "base_frame": ("base_link", "Robot frame."),
    "use_sim_time": ("true", "Use the time of the simulation."),
    "params_file": ("wheeled.yaml", "Parameters: scale from wheel odometry."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS, include_driver("turtlebot4_gz_bringup", "turtlebot4_gz.launch.py"))
