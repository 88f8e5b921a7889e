# SPDX-License-Identifier: Apache-2.0
"""Camera poses, depth, metric scale and levelling from a stream of images."""
