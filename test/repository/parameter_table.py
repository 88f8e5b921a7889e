# SPDX-License-Identifier: Apache-2.0
"""The parameter table of the README, from the settings. Run as a script it replaces the table in the README."""

from __future__ import annotations

from pathlib import Path

from ttt3r_ros.config import Setting, settings

README = Path(__file__).resolve().parents[2] / "README.md"
HEAD = ["| parameter | default | |", "|---|---|---|"]


def table() -> list[str]:
    return HEAD + [row(entry) for entry in settings()]


def row(entry: Setting) -> str:
    default = str(entry.default).lower() if entry.kind is bool else str(entry.default or "")
    default = str(entry.default) if entry.kind in (int, float) else default
    cell = f"`{default}`" if default else ""
    return f"| `{entry.name}` | {cell} | {entry.description}{' *Live.*' if entry.live else ''} |"


def table_of_the_readme(lines: list[str]) -> slice:
    """Return the lines of the table: from its head to the first line that is not a row."""
    begin = next(i for i, line in enumerate(lines) if line.startswith("| parameter |"))
    end = next(i for i, line in enumerate(lines) if i > begin and not line.startswith("|"))
    return slice(begin, end)


if __name__ == "__main__":
    lines = README.read_text(encoding="utf-8").splitlines()
    lines[table_of_the_readme(lines)] = table()
    README.write_text("\n".join(lines) + "\n", encoding="utf-8")
