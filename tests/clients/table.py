"""The results in short, and as Markdown."""

import collections, re

from runs import RUNS
from servers import SERVERS

HEAD = """# Real clients against restarts, stops and time-outs

Made by `tests/clients/run.py`; [what it does](../README.md).

![failed of 10,000 requests](clients.svg)
"""


# Of HTTP/2 two clients have bugs that no server can avoid: README.md.
GROUPS = [
    ("1", "HTTP/1.1, eleven clients", None),
    ("2", "HTTP/2: Go, libcurl, reqwest, Chromium", ("go", "libcurl", "reqwest", "chromium")),
    ("2", "HTTP/2: httpx, JDK 17", ("httpx", "jdk")),
]

# Where benches/README.md has the table.
BEGIN, END = "<!-- made by tests/clients/run.py -->\n", "<!-- until here -->\n"


def compact(result):
    """What is kept: of each client how many of its requests failed, and how most of them did."""
    clients = {}
    for name, seen in result["clients"].items():
        errors = collections.Counter(re.sub(r"\d{4,}", "N", failure["error"])[:160]
                                     for failure in seen["failed"])
        clients[name] = {"version": seen["version"], "requests": seen["requests"],
                         "failed": len(seen["failed"]), "errors": dict(errors.most_common(4))}
    kept = {name: result[name] for name in ("server", "version", "run", "http", "restarts", "measured")}
    return kept | {"clients": clients}


def markdown(results):
    parts = [HEAD, summary(results)]
    for http in ("1", "2"):
        for name, run in RUNS.items():
            these = [r for server in run.servers for r in results
                     if (r["http"], r["run"], r["server"]) == (http, name, server)]
            if these:
                version = {"1": "1.1", "2": "2"}[http]
                parts.append(f"### HTTP/{version}, {run.title}\n\n" + one(these))
    return "\n".join(parts)


def summary(results):
    """A line for each run and group of clients, a column for each server."""
    servers = [name for name in SERVERS if any(r["server"] == name for r in results)]
    rows = [["failed of requests", *servers], ["---"] * (len(servers) + 1)]
    for http, title, names in GROUPS:
        rows.append([f"**{title}**"] + [""] * len(servers))
        for run in RUNS:
            these = {r["server"]: r for r in results if (r["http"], r["run"]) == (http, run)}
            if these:
                rows.append([RUNS[run].title, *(cell(these[name], names or these[name]["clients"])
                                                if name in these else "" for name in servers)])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def into_readme(results, path):
    with open(path) as file:
        before, _, rest = file.read().partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(path, "w") as file:
        file.write(f"{before}{BEGIN}\n{summary(results)}\n{END}{after}")


def one(results):
    head = [f"{r['server']} {r['version']}" for r in results]
    rows = [["failed of requests", *head], ["---"] * (len(head) + 1)]
    names = dict.fromkeys(name for r in results for name in r["clients"])
    for name in names:
        versions = [r["clients"][name]["version"] for r in results if name in r["clients"]]
        rows.append([versions[0], *(cell(r, [name]) for r in results)])
    rows.append(["**all**", *(f"**{cell(r, names)}**" for r in results)])
    rows.append(["times restarted or stopped", *(str(r["restarts"]) for r in results)])
    rows.append(["measured", *(measured(r["measured"], r["server"]) for r in results)])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def measured(how, server):
    source = f", source of {how['src']}" if server == "graceful-tls" else ""
    return f"{how['on']}, {how['with']}{source}"


def cell(result, names):
    seen = [result["clients"][name] for name in names if name in result["clients"]]
    if not seen:
        return ""
    failed = sum(client["failed"] for client in seen)
    return f"{failed:,} of {sum(client['requests'] for client in seen):,}"
