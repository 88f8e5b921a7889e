# docker build -f docker/jazzy.Dockerfile -t ttt3r_ros .
# docker run --gpus all --network host --ipc host ttt3r_ros
FROM ros:jazzy-perception

COPY . /ros2_ws/src/ttt3r_ros
RUN /ros2_ws/src/ttt3r_ros/docker/install.sh
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "ttt3r_ros", "mapping.launch.py"]
