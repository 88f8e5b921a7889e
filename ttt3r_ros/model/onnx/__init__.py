# SPDX-License-Identifier: Apache-2.0
"""Export of the network to ONNX graphs."""
