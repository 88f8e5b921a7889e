# SPDX-License-Identifier: Apache-2.0
"""Camera poses, depth, metric scale and leveling from a stream of images."""
