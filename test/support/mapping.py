# SPDX-License-Identifier: Apache-2.0
"""`map_recording` with source options as keywords and settings by their parameter names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttt3r_ros import Config, RunResult, SourceOptions, map_recording
from ttt3r_ros.config import from_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NO_SETTINGS: Mapping[str, object] = {}


def map_with(
    source: Path | str,
    output: Path,
    *outputs: str,
    settings: Mapping[str, object] = NO_SETTINGS,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> RunResult:
    """Map a recording; no ``outputs``: the default ones. ``options`` are those of `SourceOptions`."""
    return map_recording(
        source,
        output,
        from_mapping(settings, Config()),
        outputs=outputs or None,
        options=SourceOptions(**options),
        resume=resume,
        overwrite=overwrite,
    )


def map_without_problems(source: Path | str, output: Path, *outputs: str, **keywords: Any) -> RunResult:
    """Map a recording as `map_with`; the run must end by itself and without a problem."""
    result = map_with(source, output, *outputs, **keywords)
    assert result.is_ok, result.problems
    return result
