# SPDX-License-Identifier: Apache-2.0
"""Reading image files, whatever their names are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_picture(file: Path, mode: int = cv2.IMREAD_COLOR) -> NDArray[Any] | None:
    """Return an image as `cv2.imread` does, None if it cannot be read.

    OpenCV itself crashes on a name that is no UTF-8, and writes a line of its own for every file that is no image.
    """
    try:
        content = np.fromfile(file, np.uint8)
    except OSError:
        return None
    return cv2.imdecode(content, mode) if content.size else None
