# SPDX-License-Identifier: Apache-2.0
"""The reason of a skipped image is its true one."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.errors import ContrastError, ImageError, NonFiniteError
from ttt3r_ros.pipeline.mapper import SkipReason, _to_skipped
from ttt3r_ros.pipeline.reconstructor import require_contrast
from ttt3r_ros.types import Frame


def test_only_an_image_of_one_color_is_skipped_as_such() -> None:
    with pytest.raises(ContrastError) as caught:
        require_contrast(Frame(1, "camera", np.full((8, 8, 3), 7, np.uint8), None))
    assert _to_skipped(caught.value).reason is SkipReason.ONE_COLOR
    narrow = _to_skipped(ImageError("image 4x480 is too narrow"))
    assert narrow.reason is SkipReason.UNUSABLE_IMAGE
    assert "4x480" in str(narrow)
    assert "color" not in str(narrow)
    assert _to_skipped(NonFiniteError("nan")).reason is SkipReason.NOT_FINITE
