# SPDX-License-Identifier: Apache-2.0
"""Pipeline: the reconstructor, its checkpoints, and the worker that feeds it."""
