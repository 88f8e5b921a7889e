# SPDX-License-Identifier: Apache-2.0
"""HTML of a report: one page that asks nobody for anything, readable on a phone and on paper."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE = """
:root { color-scheme: light; --ink: #1b2430; --quiet: #64707f; --line: #e3e7ec; --accent: #0b63c5; --warm: #c2540a; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 28px 16px 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 36px 0 12px; }
.under { color: var(--quiet); margin: 4px 0 20px; overflow-wrap: anywhere; }
.notice { border-left: 4px solid var(--warm); background: #fff6ef; padding: 10px 14px; margin: 0 0 16px; }
.facts { display: grid; gap: 10px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin: 0; }
.facts div { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.facts dt { color: var(--quiet); font-size: .82rem; }
.facts dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts small { display: block; font-size: .8rem; font-weight: 400; color: var(--quiet); }
.pictures { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); }
figure { margin: 0; background: white; border: 1px solid var(--line); border-radius: 8px; padding: 12px;
  display: flex; flex-direction: column; }
figure img { display: block; width: 100%; height: auto; max-height: 560px; object-fit: contain; margin: auto 0; }
figcaption { color: var(--quiet); font-size: .88rem; padding: 0 2px 8px; }
.scroll { overflow-x: auto; background: white; border: 1px solid var(--line); border-radius: 8px; margin: 12px 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: 6px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th { color: var(--quiet); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.values td { overflow-wrap: anywhere; } .values td:first-child { width: 40%; }
.samples { display: grid; gap: 10px; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.pictures > .scroll { margin: 0; align-self: start; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--accent); padding: 6px 0; }
@media (max-width: 480px) { th, td { padding: 6px; } table { font-size: .82rem; } }
@media print {
  @page { margin: 14mm; }
  body { background: white; font-size: 10.5pt; } main { max-width: none; padding: 0; }
  h2 { break-after: avoid; margin-top: 20px; } figure, .facts div, tr { break-inside: avoid; }
  .pictures { grid-template-columns: 1fr 1fr; } .scroll { overflow: visible; } summary { display: none; }
}
"""
# On paper a table that is folded away would be lost.
_UNFOLD = (
    "addEventListener('beforeprint',()=>document.querySelectorAll('details').forEach(d=>d.open=true))"
)


def page(title: str, under: str, body: Iterable[str]) -> str:
    """Return the whole page; ``body`` is HTML, the rest text."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="under">{escape(under)}</p>\n'
        + "\n".join(body)
        + f"\n</main>\n<script>{_UNFOLD}</script>\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Return the heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def notice(text: str) -> str:
    """Return a paragraph that must not be overlooked."""
    return f'<p class="notice">{escape(text)}</p>'


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def key_figures(figures: Sequence[tuple[str, str, str]]) -> str:
    """Return figures (name, value, remark) side by side."""
    entries = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"
        for name, value, remark in figures
    )
    return f'<dl class="facts">{"".join(entries)}</dl>'


def pictures(entries: Sequence[tuple[str, str]]) -> str:
    """Return pictures (caption, data URI), two in a row where there is room."""
    return f'<div class="pictures">{"".join(_figure(*entry) for entry in entries)}</div>'


def picture(caption: str, uri: str) -> str:
    """Return one picture."""
    return _figure(caption, uri)


def beside(*contents: str) -> str:
    """Return contents side by side where there is room."""
    return f'<div class="pictures">{"".join(contents)}</div>'


def strip(entries: Sequence[tuple[str, str]]) -> str:
    """Return small pictures (caption, data URI), as many in a row as there is room for."""
    return f'<div class="samples">{"".join(_figure(*entry) for entry in entries)}</div>'


def _figure(caption: str, uri: str) -> str:
    text = escape(caption)
    return f'<figure><figcaption>{text}</figcaption><img alt="{text}" src="{uri}"></figure>'


def table(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:  # noqa: FBT001, FBT002
    """Return a table; all columns but the first hold ``numbers`` or not."""
    kinds = ["", *(' class="number"' if numbers else "" for _ in names[1:])]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, names, strict=True))
    lines = (
        "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    kind = "scroll" if numbers else "scroll values"
    return (
        f'<div class="{kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def folded(summary: str, content: str) -> str:
    """Return content that opens on demand."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"
