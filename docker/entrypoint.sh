#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
set -e
# shellcheck disable=SC1090,SC1091
. "/opt/ros/$ROS_DISTRO/setup.bash" && . /opt/ttt3r/bin/activate && . /ros2_ws/install/setup.bash
exec "$@"
