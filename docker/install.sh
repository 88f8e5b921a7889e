#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs ttt3r_ros into a ROS 2 image: a virtual environment on the system's interpreter (PEP 668), then colcon.
# Arguments go to pip for torch; KEEP_TORCH=1 uses the torch of the image (Jetson).
set -euo pipefail
: "${ROS_DISTRO:?not set; expected an image with ROS 2}" "${WORKSPACE:=/ros2_ws}" "${VENV:=/opt/ttt3r}"

apt-get update -qq
apt-get install -y -qq --no-install-recommends python3-venv python3-pip python3-colcon-common-extensions python3-rosdep
python3 -m venv --system-site-packages "$VENV"
touch "$VENV/COLCON_IGNORE"
# shellcheck disable=SC1091
. "$VENV/bin/activate"
if [ "${KEEP_TORCH:-0}" = 1 ]; then
    python -c "import torch" || { echo "KEEP_TORCH is 1, but $(python --version) of the image has no torch" >&2; exit 1; }
else
    pip install --no-cache-dir torch==2.13.0 "$@"
fi
pip install --no-cache-dir safetensors
set +u
# shellcheck disable=SC1090
. "/opt/ros/$ROS_DISTRO/setup.bash"
set -u
[ -e /etc/ros/rosdep/sources.list.d/20-default.list ] || rosdep init
rosdep update --rosdistro "$ROS_DISTRO"
cd "$WORKSPACE"
rosdep install --from-paths src --ignore-src -y
python -m colcon build --event-handlers console_direct+
rm -rf /var/lib/apt/lists/*
