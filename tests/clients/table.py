"""The results in short, and as Markdown."""

import collections, re

from runs import RUNS

HEAD = """# Real clients against restarts, stops and time-outs

Made by `tests/clients/run.py`; [what it does](../README.md).

![failed of 10,000 requests](clients.svg)
"""


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
    parts = [HEAD]
    for http in ("1", "2"):
        for name, run in RUNS.items():
            these = [r for server in run.servers for r in results
                     if (r["http"], r["run"], r["server"]) == (http, name, server)]
            if these:
                version = {"1": "1.1", "2": "2"}[http]
                parts.append(f"### HTTP/{version}, {run.title}\n\n" + one(these))
    return "\n".join(parts)


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
    return f"{failed} of {sum(client['requests'] for client in seen)}"
