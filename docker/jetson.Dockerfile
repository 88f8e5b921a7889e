# On a Jetson with JetPack 6; the base brings torch with CUDA and ROS 2. Not tried on hardware.
# docker build -f docker/jetson.Dockerfile -t ttt3r_ros:jetson .
# docker run --runtime nvidia --network host --ipc host ttt3r_ros:jetson
ARG BASE=dustynv/ros:jazzy-ros-base-l4t-r36.4.0
FROM ${BASE}
ENV KEEP_TORCH=1

COPY . /ros2_ws/src/ttt3r_ros
RUN /ros2_ws/src/ttt3r_ros/docker/install.sh
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "ttt3r_ros", "mapping.launch.py"]
