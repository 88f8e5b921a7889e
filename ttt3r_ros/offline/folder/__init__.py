# SPDX-License-Identifier: Apache-2.0
"""The output folder of a run: its lock, its fingerprint, and saved state for resuming."""
