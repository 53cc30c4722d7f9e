"""A trace as one page that needs nothing else."""

from collections.abc import Sequence
from html import escape

from graphmesh_cli.trace_tree import Node, totals, walk

STYLE = """
body { font: 13px/1.5 system-ui, sans-serif; margin: 2rem; color: #1c2430; background: #fff; }
h1 { font-size: 16px; } p { color: #5b6675; }
table { border-collapse: collapse; width: 100%; }
td { padding: 1px 8px 1px 0; white-space: nowrap; vertical-align: top; }
td.bar { width: 45%; position: relative; } td.notes { white-space: normal; color: #5b6675; }
.service { color: #8a94a3; } .failed { color: #b42318; font-weight: 600; }
.span { position: absolute; top: 5px; height: 10px; min-width: 2px; background: #3b7f5c; border-radius: 2px; }
.span.failed { background: #d92d20; } .span.waits { background: #d5a021; }
tr:hover { background: #f3f5f8; }
@media (prefers-color-scheme: dark) { body { color: #dde3ea; background: #14181d; } tr:hover { background: #20262d; } }
"""


def page(run: str, roots: Sequence[Node]) -> str:
    """Return an HTML document. Whatever a span has is escaped."""
    lines = list(walk(roots))
    begin = min((node.start for _, node in lines), default=0.0)
    whole = max(max((node.end for _, node in lines), default=0.0) - begin, 1e-9)
    tokens, cost = totals(roots)
    rows = "\n".join(_row(depth, node, begin, whole) for depth, node in lines)
    summary = f"{len(lines)} spans, {whole:.3f} s, {tokens} tokens, ${cost:.6f}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(run)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(run)}</h1><p>{summary}</p>\n<table>\n{rows}\n</table></body></html>\n"
    )


def _row(depth: int, node: Node, begin: float, whole: float) -> str:
    span = node.span
    left, width = (node.start - begin) / whole * 100, node.seconds / whole * 100
    kind = " failed" if span.failed else " waits" if span.name in ("parked", "queue") else ""
    notes = "  ".join([*([span.error_type] if span.failed else []), *node.notes()])
    title = "\n".join(f"{name}: {value}" for name, value in sorted(node.attributes.items()))
    name = f'{escape(node.name)} <span class="service">{escape(span.service)}</span>'
    bar = f'<div class="span{kind}" style="left:{left:.3f}%;width:{width:.3f}%"></div>'
    return (
        f'<tr title="{escape(title)}"><td style="padding-left:{depth * 14}px" class="{kind.strip()}">{name}</td>'
        f'<td class="bar">{bar}</td><td>{node.seconds * 1000:.1f} ms</td><td class="notes">{escape(notes)}</td></tr>'
    )
