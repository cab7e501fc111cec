"""The results as a picture: failed of 10,000 requests, by server, run and version of HTTP."""

import re, textwrap
from html import escape

from runs import RUNS
from servers import SERVERS

LEFT, TOP, PANEL, GAP, BAR, GROUP = 216, 100, 200, 44, 15, 46
COLUMNS, BETWEEN = 4, 66
INK, QUIET, LINE = "#1c2430", "#5b6675", "#d5dae1"
COLOURS = {"1": "#1f6fb2", "2": "#e08a1e"}
NAMES = {"1": "HTTP/1.1", "2": "HTTP/2"}


def rate(result):
    """Failed of 10,000."""
    clients = result["clients"].values()
    requests = sum(client["requests"] for client in clients)
    return 10_000 * sum(client["failed"] for client in clients) / max(requests, 1)


def text(x, y, words, size=13, anchor="start", colour=INK, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{colour}" font-weight="{weight}">{escape(words)}</text>')


def draw(results, path):
    runs = [run for run in RUNS if any(r["run"] == run for r in results)]
    lines = [runs[place:place + COLUMNS] for place in range(0, len(runs), COLUMNS)]
    width = LEFT + COLUMNS * (PANEL + GAP) + 10
    parts, top = [], TOP
    for line in lines:
        shown = [r for r in results if r["run"] in line]
        parts += panels(top, line, [name for name in SERVERS if any(r["server"] == name for r in shown)], shown)
        top += (len({r["server"] for r in shown})) * GROUP + BETWEEN
    height = top - BETWEEN + 34
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            text(16, 28, "Requests that failed, of 10,000: clients as they come", 17, weight="bold")]
    foot = text(16, height - 12, "Each bar: all clients of that version of HTTP together. "
                "Each panel has a scale of its own.", 11, colour=QUIET)
    with open(path, "w") as file:
        file.write("\n".join([*head, *legend(width), *parts, foot, "</svg>\n"]))


def panels(top, runs, servers, results):
    parts = [text(LEFT - 14, top + row * GROUP + 27, name, 12, "end")
             if len(name) < 24 else two_lines(name, top + row * GROUP + 20)
             for row, name in enumerate(servers)]
    for column, run in enumerate(runs):
        parts += panel(column, top, run, servers, [r for r in results if r["run"] == run])
    return parts


def two_lines(name, y):
    first, _, second = name.partition(", ")
    return text(LEFT - 14, y, first + ",", 12, "end") + text(LEFT - 14, y + 15, second, 12, "end")


def legend(width):
    parts = []
    for place, http in enumerate(COLOURS):
        x = width - 200 + place * 96
        parts.append(f'<rect x="{x}" y="44" width="12" height="12" fill="{COLOURS[http]}"/>')
        parts.append(text(x + 17, 54.5, NAMES[http], 12))
    return parts


def panel(column, top, run, servers, results):
    longest = max(map(rate, results)) or 1
    left = LEFT + column * (PANEL + GAP)
    bottom = top + len(servers) * GROUP
    title = textwrap.wrap(re.sub(r"(\d) (m?s)\b", "\\1\u00a0\\2", RUNS[run].title), 36)
    parts = [*(text(left, top - 12 - 15 * (len(title) - 1 - row), words, 12, colour=QUIET)
               for row, words in enumerate(title)),
             f'<line x1="{left}" y1="{top}" x2="{left}" y2="{bottom}" stroke="{LINE}"/>']
    for row, server in enumerate(servers):
        for place, http in enumerate(COLOURS):
            these = [r for r in results if (r["server"], r["http"]) == (server, http)]
            y = top + row * GROUP + 7 + place * (BAR + 2)
            for result in these:
                parts += bar(left, y, rate(result), longest, COLOURS[http])
    return parts


def bar(left, y, value, longest, colour):
    length = PANEL * 0.86 * value / longest
    shown = f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"
    return [f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            text(left + length + 5, y + BAR - 3.5, shown, 11)]
