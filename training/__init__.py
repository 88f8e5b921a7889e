# SPDX-License-Identifier: Apache-2.0
"""Training of the package's weights: scenes, losses, curriculum. Not installed."""
