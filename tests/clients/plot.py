"""The results as a picture: failed of 10,000 requests, by server, run and version of HTTP."""

from html import escape

from servers import SERVERS
from table import TITLES

LEFT, TOP, PANEL, GAP, BAR, GROUP = 216, 84, 200, 44, 15, 46
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
    servers = [name for name in SERVERS if any(r["server"] == name for r in results)]
    runs = [run for run in TITLES if any(r["run"] == run for r in results)]
    width = LEFT + len(runs) * (PANEL + GAP) + 10
    height = TOP + len(servers) * GROUP + 34
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'width="{width}" height="{height}" font-family="sans-serif">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             text(16, 28, "Requests that failed at restarts, of 10,000: clients as they come", 17,
                  weight="bold")]
    parts += legend(width)
    parts += [text(LEFT - 14, TOP + row * GROUP + 27, name, 12, "end")
              if len(name) < 24 else two_lines(name, row) for row, name in enumerate(servers)]
    for column, run in enumerate(runs):
        parts += panel(column, run, servers, [r for r in results if r["run"] == run])
    parts.append(text(16, height - 12, "Each bar: all clients of that version of HTTP together. "
                      "Each run has a scale of its own.", 11, colour=QUIET))
    with open(path, "w") as file:
        file.write("\n".join([*parts, "</svg>\n"]))


def two_lines(name, row):
    first, _, second = name.partition(", ")
    y = TOP + row * GROUP + 20
    return text(LEFT - 14, y, first + ",", 12, "end") + text(LEFT - 14, y + 15, second, 12, "end")


def legend(width):
    parts = []
    for place, http in enumerate(COLOURS):
        x = width - 200 + place * 96
        parts.append(f'<rect x="{x}" y="44" width="12" height="12" fill="{COLOURS[http]}"/>')
        parts.append(text(x + 17, 54.5, NAMES[http], 12))
    return parts


def panel(column, run, servers, results):
    longest = max(map(rate, results)) or 1
    left = LEFT + column * (PANEL + GAP)
    bottom = TOP + len(servers) * GROUP
    parts = [text(left, TOP - 12, TITLES[run], 12, colour=QUIET),
             f'<line x1="{left}" y1="{TOP}" x2="{left}" y2="{bottom}" stroke="{LINE}"/>']
    for row, server in enumerate(servers):
        for place, http in enumerate(COLOURS):
            these = [r for r in results if (r["server"], r["http"]) == (server, http)]
            y = TOP + row * GROUP + 7 + place * (BAR + 2)
            for result in these:
                parts += bar(left, y, rate(result), longest, COLOURS[http])
    return parts


def bar(left, y, value, longest, colour):
    length = PANEL * 0.86 * value / longest
    shown = f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"
    return [f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            text(left + length + 5, y + BAR - 3.5, shown, 11)]
