# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files and the weights they hold."""
