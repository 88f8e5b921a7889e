# On a Jetson Orin with JetPack 6.2. The base is Ubuntu 24.04 with Python 3.12 and a torch built for the Jetson's GPU; ROS 2
# Jazzy has Debian packages for that Ubuntu. Not built and not tried on hardware. setup.py accepts its torch
# (2.6 or later); the tests ran with torch 2.11 and 2.13 only.
# docker build -f docker/jetson.Dockerfile -t ttt3r_ros:jetson .
# docker run --runtime nvidia --network host --ipc host ttt3r_ros:jetson
ARG BASE=nvcr.io/nvidia/pytorch:25.06-py3-igpu
FROM ${BASE}
ENV ROS_DISTRO=jazzy KEEP_TORCH=1 DEBIAN_FRONTEND=noninteractive

RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates curl \
    && curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.key -o /usr/share/keyrings/ros.gpg \
    && echo "deb [signed-by=/usr/share/keyrings/ros.gpg] http://packages.ros.org/ros2/ubuntu noble main" \
        > /etc/apt/sources.list.d/ros2.list \
    && apt-get update -qq && apt-get install -y -qq --no-install-recommends ros-jazzy-ros-base \
    && rm -rf /var/lib/apt/lists/*
COPY . /ros2_ws/src/ttt3r_ros
RUN /ros2_ws/src/ttt3r_ros/docker/install.sh
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "ttt3r_ros", "mapping.launch.py"]
