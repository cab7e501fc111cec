#!/usr/bin/env python3
"""Draws a dashboard of Grafana's without Grafana: each panel's queries are asked of Prometheus.

    draw.py http://127.0.0.1:9090 [minutes] > dashboard.svg

Enough for the dashboard beside this file: panels of one number, and of lines, stacked or not.
"""

import html
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

COLUMN, ROW, GAP, TITLE = 46, 30, 8, 24  # pixels
COLORS = "#5794f2 #73bf69 #ff9830 #f2495c #b877d9 #fade2a #8ab8ff #37872d #c4162a #a16a4a".split()
NAMED = {"green": "#37872d", "blue": "#1f60c4", "orange": "#d9730d", "red": "#c4162a"}
UNITS = {"cps": "{}/s", "s": " {}s", "Bps": " {}B/s", "short": "{}"}


def filled(expression, variables):
    for name, value in variables.items():
        expression = expression.replace(name, value)
    return expression


class Range:
    """A time in a Prometheus, and what stands for Grafana's variables."""

    def __init__(self, url, start, end, variables):
        self.url, self.start, self.end, self.variables = url, start, end, variables
        self.step = max(1, round((end - start) / 200))

    def query(self, expression):
        """Series: their labels, and a value for each time."""
        asked = {"query": filled(expression, self.variables), "start": self.start, "end": self.end}
        asked = urllib.parse.urlencode(asked | {"step": self.step})
        with urllib.request.urlopen(f"{self.url}/api/v1/query_range?{asked}") as answer:
            found = json.load(answer)["data"]["result"]
        numbers = ((one["metric"], [(t, float(v)) for t, v in one["values"] if v != "NaN"]) for one in found)
        return [(labels, values) for labels, values in numbers if values]


def number(value, unit):
    """Three digits, with k, M or m where that is shorter."""
    if unit == "percentunit":
        return f"{value * 100:.1f}%"
    small = unit == "s" and 0 < value < 1
    factor, prefix = (1e3, "m") if small else (1, "")
    for bound, by, name in ((1e3, 1e-3, "k"), (1e6, 1e-6, "M")):
        factor, prefix = (by, name) if value >= bound else (factor, prefix)
    return f"{value * factor:.3g}{UNITS[unit].format(prefix)}"


def top_of(most):
    """A round number above: what a fourth of it is, is one too."""
    power = 10 ** math.floor(math.log10(most or 1))
    return next(power * step for step in (1, 1.2, 2, 4, 6, 8, 10, 12) if power * step >= most)


def color_of(panel, shown, value):
    """As its thresholds say, or an override for the name that is shown."""
    color = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        color = step["color"] if step["value"] is None or value >= step["value"] else color
    for override in panel["fieldConfig"]["overrides"]:
        if re.fullmatch(override["matcher"]["options"], shown):
            color = override["properties"][0]["value"]["fixedColor"]
    return NAMED[color]


def legend(target, labels):
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def text(x, y, content, size=11, color="#ccccdc", anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{html.escape(content)}</text>'
    )


def stat(panel, found, width, height):
    """The last value on the color of its threshold; or the name, where that is what is shown."""
    defaults = panel["fieldConfig"]["defaults"]
    target, labels, values = max(found, key=lambda one: one[2][-1][0])
    value = values[-1][1]
    shown = number(round(value) if defaults.get("decimals") == 0 else value, defaults["unit"])
    if panel["options"].get("textMode") == "name":
        shown = legend(target, labels)
    fill = color_of(panel, shown, value)
    yield f'<rect y="{TITLE}" width="{width}" height="{height - TITLE}" rx="3" fill="{fill}"/>'
    yield text(width / 2, TITLE + (height - TITLE) / 2 + 10, shown, 28, "#fff", "middle", "bold")


def stacked(lines):
    """Each on top of those before it: lower and upper bounds."""
    below = {}
    for target, labels, values in lines:
        bounds = [(t, below.get(t, 0), below.get(t, 0) + v) for t, v in values]
        below |= {t: upper for t, _, upper in bounds}
        yield target, labels, bounds


def graph(panel, found, width, height, asked):
    custom = panel["fieldConfig"]["defaults"]["custom"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    stack = custom["stacking"]["mode"] == "normal"
    lines = list(stacked(found)) if stack else [(t, l, [(at, 0, v) for at, v in vs]) for t, l, vs in found]
    top = top_of(max(upper for _, _, bounds in lines for _, _, upper in bounds) * 1.02)
    legends = [legend(target, labels) for target, labels, _ in lines]
    rows = rows_of(legends, width - 16)
    left, bottom = 62, height - 26 - 15 * len(rows)
    x = lambda at: left + (at - asked.start) / (asked.end - asked.start) * (width - left - 12)
    y = lambda value: bottom - value / top * (bottom - TITLE - 8)
    for part in range(5):
        at = top * part / 4
        yield f'<line x1="{left}" x2="{width - 12}" y1="{y(at):.1f}" y2="{y(at):.1f}" stroke="#34343b"/>'
        yield text(left - 6, y(at) + 4, number(at, unit), 10, "#8e8e9c", "end")
        seconds = (asked.end - asked.start) * part / 4
        yield text(x(asked.start + seconds), bottom + 15, f"{seconds:.0f} s", 10, "#8e8e9c", "end" if part == 4 else "middle")
    for index, (_, _, bounds) in enumerate(lines):
        color = COLORS[index % len(COLORS)]
        for part in runs(bounds, asked.step):
            upper = [f"{x(at):.1f},{y(value):.1f}" for at, _, value in part]
            lower = [f"{x(at):.1f},{y(value):.1f}" for at, value, _ in reversed(part)]
            if stack:
                yield f'<polygon points="{" ".join(upper + lower)}" fill="{color}" fill-opacity=".4"/>'
            round_ends = 'stroke-linecap="round" stroke-width="3"' if len(part) == 1 else 'stroke-width="1.5"'
            yield f'<polyline points="{" ".join(upper + upper[-1:])}" fill="none" stroke="{color}" {round_ends}/>'
    for row, entries in enumerate(rows):
        for index, at in entries:
            below = bottom + 33 + 15 * row
            yield f'<rect x="{8 + at}" y="{below - 5}" width="12" height="3" fill="{COLORS[index % len(COLORS)]}"/>'
            yield text(24 + at, below, legends[index])


def rows_of(legends, width):
    """Where each legend goes: rows of indices and places."""
    rows, at = [[]], 0
    for index, name in enumerate(legends):
        needs = 30 + 6.2 * len(name)
        if at + needs > width and rows[-1]:
            rows.append([])
            at = 0
        rows[-1].append((index, at))
        at += needs
    return rows


def runs(bounds, step):
    """Parts without a gap."""
    part = []
    for one in bounds:
        if part and one[0] - part[-1][0] > 1.5 * step:
            yield part
            part = []
        part.append(one)
    yield part


def picture(dashboard, asked):
    panels = dashboard["panels"]
    width = 24 * COLUMN + GAP
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) * ROW + GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="Inter, Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#111217"/>',
    ]
    for panel in panels:
        at = panel["gridPos"]
        w, h = at["w"] * COLUMN - GAP, at["h"] * ROW - GAP
        out.append(f'<g transform="translate({at["x"] * COLUMN + GAP},{at["y"] * ROW + GAP})">')
        out.append(f'<rect width="{w}" height="{h}" rx="3" fill="#181b1f" stroke="#2a2c33"/>')
        out.append(text(8, 16, panel["title"], 12, weight="bold"))
        found = [(of, *one) for of in panel["targets"] for one in asked.query(of["expr"])]
        if not found:
            out.append(text(w / 2, h / 2, "no data", 14, "#8e8e9c", "middle"))
        elif panel["type"] == "stat":
            out.extend(stat(panel, found, w, h))
        else:
            out.extend(graph(panel, found, w, h, asked))
        out.append("</g>")
    return "\n".join([*out, "</svg>", ""])


def main():
    dashboard = json.loads((pathlib.Path(__file__).parent / "dashboard.json").read_text())
    seconds = 60 * float(sys.argv[2] if len(sys.argv) > 2 else 60)
    variables = {"$__rate_interval": "1m", "$__range": f"{seconds:.0f}s", "$instance": ".*"}
    print(picture(dashboard, Range(sys.argv[1], time.time() - seconds, time.time(), variables)))


if __name__ == "__main__":
    main()
