#!/usr/bin/env python3
"""Real clients against restarts: see README.md."""

import argparse, collections, functools, json, os, random, re, shutil, signal, subprocess, sys, tempfile, time

import clients, known, plot, servers, table, wire
from runs import RUNS

LEAD = 5  # until the slowest client has started
SLOWEST = 60  # a client that has not ended this long after its time hangs


def measure(server, name, http, options, folder):
    """One server, one run, one version of HTTP: all the clients at once."""
    servers.make_certificates(folder)
    run = RUNS[name]
    names = [client for client in clients.names(http) if client in options.clients]
    behind = servers.free_ports(1)
    first = servers.free_ports(len(names) * run.pools)
    alone, balanced, _ = servers.SERVERS[server]
    running = (balanced if run.balanced else alone)(folder, behind, run.settings)
    log, said = os.path.join(folder, "link.log"), os.path.join(folder, "server.log")
    link = subprocess.Popen(
        [clients.rust("link"), str(first), f"127.0.0.1:{behind}", str(run.round_trip // 2), log,
         str(len(names) * run.pools)])
    try:
        servers.await_port(first)
        lasts, moments = plan(run, http, options)
        until = time.time() + (0 if run.stops else LEAD + lasts + 2)
        ports = {name: first + number * run.pools for number, name in enumerate(names)}
        started = {name: begin(name, port, http, until, run, folder) for name, port in ports.items()}
        try:
            time.sleep(LEAD)
            act(running.stop if run.stops else running.restart, moments)
            seen = {name: finish(client, until) for name, client in started.items()}
        finally:
            for client in started.values():
                end(client)
        time.sleep(1)
    finally:
        link.kill()
        link.wait()
        running.end()
    judge(run, seen)
    wires = wire.Wires(ports, run, log, said)
    if run.crosses:
        wires.mark_crossed(seen)
    with open(os.path.join(folder, "failed.log"), "w") as file:
        json.dump({name: client["failed"] for name, client in seen.items()}, file, indent=1)
    # HAProxy resets connections that it no longer needs: there only its clients know.
    told = not run.cut and not run.balanced
    return {"server": server, "version": running.version, "run": name, "http": http,
            "restarts": len(moments), "clients": seen, "measured": about(),
            "cut": wires.cut() if told else [], "wire": wires.explain(seen)}


def plan(run, http, options):
    """How long it takes, and when something is done to the server: seconds, from now on."""
    if run.stops:
        return 0, [0]
    lasts = options.restarts * options.every
    every = options.every * run.every["12".index(http)]
    if not every:
        return lasts, []
    number = max(round(lasts / every), 2)
    # Not in step with the clients, which all begin anew after each.
    pauses = [random.uniform(0.5, 1.5) for _ in range(number)]
    moments = [sum(pauses[:place]) * every * number / sum(pauses) for place in range(number)]
    return number * every, moments


def act(action, moments):
    begun = time.monotonic()
    for moment in moments:
        time.sleep(max(0, begun + moment - time.monotonic()))
        action()


def begin(name, port, http, until, run, folder):
    ca = os.path.join(folder, "ca.pem")
    settings = {"URL": f"https://127.0.0.1:{port}", "CA": ca, "NODE_EXTRA_CA_CERTS": ca,
                "REQUESTS_CA_BUNDLE": ca,  # set elsewhere, it would beat the session's
                "HTTP": http, "UNTIL": until, "IDLE_FROM_MS": run.idle[0], "IDLE_MS": run.idle[1],
                "POOLS": run.pools, "PER_POOL": run.workers,
                "GET": run.get, "LENGTH": run.length, "POST": run.post}
    env = os.environ | {name: str(value) for name, value in settings.items()}
    output = open(os.path.join(folder, f"{name}.err"), "wb")
    return subprocess.Popen(["nice", *clients.command(name)], env=env, stdout=subprocess.PIPE,
                            stderr=output, text=True)


def finish(client, until):
    try:
        output, _ = client.communicate(timeout=max(0, until - time.time()) + SLOWEST)
        return json.loads(output)
    except (subprocess.TimeoutExpired, ValueError) as error:
        end(client)
        failure = {"begun": 0, "at": 0, "method": "all", "error": f"the client failed: {error}"}
        return {"version": "?", "requests": 0, "failed": [failure]}


def end(client):
    """One that hangs: the browser's has a browser to end first."""
    client.terminate()
    try:
        client.wait(5)
    except subprocess.TimeoutExpired:
        client.kill()


def judge(run, seen):
    """Where no answer can be whole, an error is what there has to be."""
    for client in seen.values() if run.cut else []:
        whole = client["requests"] - len(client["failed"])
        taken = [failure for failure in client["failed"]
                 if re.match(r"\d{3}[^,]*, \d+ bytes$", failure["error"])]
        if whole:
            taken.append({"begun": 0, "at": 0, "method": "GET",
                          "error": f"{whole} were whole: the deadline did not cut them"})
        client["failed"] = taken


def about():
    """What it was measured with."""
    git = ["git", "-C", clients.ROOT, "log", "-1", "--format=%h", "--", "src"]
    system = os.uname()
    return {"on": time.strftime("%Y-%m-%d"), "src": servers.run_for_version(*git).strip(),
            "with": f"{os.cpu_count()} cores, {system.sysname} {'.'.join(system.release.split('.')[:2])}"}


def measure_all(server, name, http, options):
    """As often as it takes: a server stops once only."""
    several = []
    for number in range(max(options.restarts // 16, 1) if RUNS[name].stops else 1):
        with tempfile.TemporaryDirectory() as folder:
            several.append(measure(server, name, http, options, folder))
            if options.keep:
                keep(folder, os.path.join(options.keep, f"{server} {name} {http} {number}"))
    return functools.reduce(add, several)


def add(one, other):
    together = {key: one[key] + other[key] for key in ("restarts", "cut", "wire")}
    for name, seen in other["clients"].items():
        one["clients"][name]["requests"] += seen["requests"]
        one["clients"][name]["failed"] += seen["failed"]
    return one | together


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    programs = [servers.SERVERS[name][-1] for name in options.servers]
    programs += ["haproxy" for name in options.runs if RUNS[name].balanced]
    clients.build([program for program in programs if program])
    os.makedirs(options.results, exist_ok=True)
    path = os.path.join(options.results, "clients.json")
    results = json.load(open(path)) if options.add and os.path.exists(path) else []
    bad = 0
    for http in options.http:
        for run in [run for run in options.runs if http in RUNS[run].http]:
            for server in [name for name in options.servers if name in RUNS[run].servers]:
                result = measure_all(server, run, http, options)
                failed = tell(result)
                if options.short and failed:
                    # A request that arrives within milliseconds of the end may be told from one that crosses it
                    # by a busy machine. A fault of the server's comes again.
                    print("== FAILED ONCE, trying again:", run, "over HTTP/" + http, flush=True)
                    result = measure_all(server, run, http, options)
                    failed = tell(result)
                same = (server, run, http)
                results = [r for r in results if (r["server"], r["run"], r["http"]) != same]
                results.append(result)
                bad += failed
                results[-1] = table.compact(result)
                with open(path, "w") as file:
                    json.dump(results, file, indent=1)
    with open(os.path.join(options.results, "clients.md"), "w") as file:
        file.write(table.markdown(results))
    plot.draw(results, os.path.join(options.results, "clients.svg"))
    if options.results == clients.here("results"):
        table.into_readme(results, os.path.join(clients.ROOT, "benches", "README.md"))
    print(table.markdown(results))
    sys.exit(1 if bad else 0)


def tell(result):
    """Says what came of it; how many losses of ours are not known bugs of the client."""
    ours = result["server"] == "graceful-tls"
    unknown = 0
    total = sum(seen["requests"] for seen in result["clients"].values())
    lost = sum(len(seen["failed"]) for seen in result["clients"].values())
    print(f"{result['server']}, {result['run']}, HTTP/{result['http']}: {lost} of {total} failed, "
          f"{result['restarts']} times restarted or stopped", flush=True)
    for name, seen in result["clients"].items() if ours else []:
        errors = collections.Counter(
            (re.sub(r"\d{4,}", "N", failure["error"])[:300],
             known.issue(name, result["http"], failure)) for failure in seen["failed"])
        for (error, issue), times in errors.items():
            unknown += times * (issue is None)
            print(f"  {name}: {times} times {error} [{issue or 'NOT A KNOWN BUG'}]")
    for name in [name for name, seen in result["clients"].items() if not seen["requests"]]:
        print(f"  {name} has not made a request")
        unknown += ours
    for line in result["cut"] if ours else []:
        print(f"  the server says that it cut an answer: {line}")
        unknown += 1
    if unknown:
        print(result["wire"][:20000])
    return unknown


def keep(folder, where):
    os.makedirs(where, exist_ok=True)
    for name in os.listdir(folder):
        if name.endswith((".log", ".err")):
            shutil.move(os.path.join(folder, name), os.path.join(where, name))


def parse():
    every = [name for name, _, _ in clients.CLIENTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="this crate alone, 4 s of each run: for CI")
    parser.add_argument("--servers", nargs="+", choices=servers.SERVERS, default=[*servers.SERVERS])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=[*RUNS])
    parser.add_argument("--http", nargs="+", choices=["1", "2"], default=["1", "2"])
    parser.add_argument("--clients", nargs="+", choices=every, default=every)
    parser.add_argument("--restarts", type=int, default=65)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two restarts, on average")
    parser.add_argument("--results", default=clients.here("results"))
    parser.add_argument("--add", action="store_true", help="to the results that are there")
    parser.add_argument("--keep", help="a folder for the logs")
    options = parser.parse_args()
    if options.short:
        options.servers, options.restarts = ["graceful-tls"], 4
        options.results = os.path.join(clients.BUILT, "results")
    return options


if __name__ == "__main__":
    main()
