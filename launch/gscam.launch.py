# SPDX-License-Identifier: Apache-2.0
"""Map with a GStreamer source, such as an RTSP camera.

``ros2 launch ttt3r_ros gscam.launch.py url:=rtsp://192.168.0.10/stream``. Needs ``ros-$ROS_DISTRO-gscam``. For another
source change the pipeline below.
"""

from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/camera/image_raw", "Image topic."),
    "camera_info_topic": ("/camera/camera_info", "CameraInfo topic."),
    "url": ("rtsp://192.168.0.10/stream", "URL of the camera stream."),
}


def generate_launch_description() -> LaunchDescription:
    pipeline = [
        "rtspsrc latency=0 location=",
        LaunchConfiguration("url"),
        " ! decodebin ! videoconvert",
    ]
    camera = Node(
        package="gscam",
        executable="gscam_node",
        parameters=[{"gscam_config": pipeline, "frame_id": "camera_optical_frame"}],
        output="screen",
    )
    return mapping_launch(DEFAULTS, camera)
