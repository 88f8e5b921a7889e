# SPDX-License-Identifier: Apache-2.0
"""Results as JSON: figures, protocols, settings, versions, and the published figures beside them."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ttt3r_ros import __version__
from ttt3r_ros.evaluation.published import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ttt3r_ros.evaluation.tables import Evaluation

_PACKAGES = ("numpy", "scipy", "evo", "torch", "opencv-python-headless", "Pillow", "matplotlib")


def record(evaluations: Iterable[Evaluation], **about: Any) -> str:
    """Return everything about a run of evaluations as JSON text; values that are not finite are null."""
    content = {
        **about,
        "versions": versions(),
        "evaluations": [_evaluation(evaluation) for evaluation in evaluations],
    }
    return json_text(content)


def json_text(content: Any) -> str:
    """Return content as JSON; a number that is not finite is null, for JSON has none."""
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of everything that has a part in the figures."""
    found = {"ttt3r_ros": __version__, "python": platform.python_version()}
    return found | {package: number for package in _PACKAGES if (number := _version(package))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # another build of it, such as opencv-python
        return ""


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    protocol = evaluation.protocol
    theirs = [
        asdict(row)
        for row in PUBLISHED
        if (row.dataset, row.protocol) == (protocol.dataset, protocol.name)
    ]
    return {
        "protocol": asdict(protocol),
        "sequences": evaluation.sequences,
        "missing": list(evaluation.missing),
        "not_run": list(evaluation.not_run),
        "results": [asdict(result) for result in evaluation.results],
        "means": {str(length): evaluation.mean(length) for length in protocol.lengths},
        "counts": {str(length): evaluation.counts(length) for length in protocol.lengths},
        "published": theirs,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
