# SPDX-License-Identifier: Apache-2.0
"""Map several recordings in parallel processes or on a Ray cluster."""
