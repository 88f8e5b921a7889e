# SPDX-License-Identifier: Apache-2.0
"""Map with a simulated TurtleBot 4 in Gazebo: ``ros2 launch ttt3r_ros turtlebot4.launch.py``.

Needs ``ros-$ROS_DISTRO-turtlebot4-gz-bringup``. Its wheels give odom -> base; the node gives map -> odom.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import include_driver, mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/oakd/rgb/preview/image_raw", "Image topic."),
    "camera_info_topic": ("/oakd/rgb/preview/camera_info", "Calibration."),
    # Gazebo's images name the sensor, turtlebot4/oakd_rgb_camera_frame/rgbd_camera, whose x looks forward.
    "camera_frame": ("oakd_rgb_camera_optical_frame", "Optical frame of the camera."),
    "tf_mode": ("map_odom", "The robot has odometry."),
    "base_frame": ("base_link", "Body of the robot."),
    "use_sim_time": ("true", "Follow the simulation."),
    "params_file": ("wheeled.yaml", "Scale from the wheels."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS, include_driver("turtlebot4_gz_bringup", "turtlebot4_gz.launch.py"))
