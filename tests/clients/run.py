#!/usr/bin/env python3
"""Real clients against restarts: see README.md."""

import argparse, collections, json, os, random, re, shutil, signal, subprocess, sys, tempfile, time

import clients, known, plot, servers, table, wire

# Name: round trip in ms, the longest idle time in ms, pools of each client, workers of each pool.
RUNS = {
    "near": (20, 300, 2, 2),
    "idle": (20, 3000, 9, 4),
    "far": (600, 300, 7, 4),
}
# Over HTTP/2 a client far away needs 1.2 s for a connection and an answer, and each restart may refuse
# what is on its way once more. Some give up at the third time: here none comes that fast.
PACES = {("far", "2"): 2}
LEAD = 4  # until the slowest client has started
SLOWEST = 60  # a client that has not ended this long after its time hangs


def measure(server, run, http, options, folder):
    """One server, one run, one version of HTTP: all the clients at once."""
    servers.make_certificates(folder)
    round_trip, idle, pools, per_pool = RUNS[run]
    names = [name for name in clients.names(http) if name in options.clients]
    behind = servers.free_ports(1)
    first = servers.free_ports(len(names) * pools)
    start, _ = servers.SERVERS[server]
    running = start(folder, behind)
    log, said = os.path.join(folder, "link.log"), os.path.join(folder, "server.log")
    link = subprocess.Popen(
        [clients.rust("link"), str(first), f"127.0.0.1:{behind}", str(round_trip // 2), log,
         str(len(names) * pools)])
    try:
        servers.await_port(first)
        every = options.every * PACES.get((run, http), 1)
        number = round(options.restarts * options.every / every)
        seconds = LEAD + number * every + 2
        ports = {name: first + number * pools for number, name in enumerate(names)}
        started = {name: begin(name, port, http, seconds, run, folder) for name, port in ports.items()}
        try:
            time.sleep(LEAD)
            restarts = restart_all(running, number, every)
            seen = {name: finish(client, seconds) for name, client in started.items()}
        finally:
            for client in started.values():
                end(client)
        time.sleep(1)
    finally:
        link.kill()
        link.wait()
        running.stop()
    return {"server": server, "version": running.version, "run": run, "http": http,
            "restarts": restarts, "clients": seen,
            "cut": wire.cut(said), "wire": wire.explain(seen, ports, pools, log, said)}


def begin(name, port, http, seconds, run, folder):
    _, idle, pools, per_pool = RUNS[run]
    ca = os.path.join(folder, "ca.pem")
    settings = {"URL": f"https://127.0.0.1:{port}", "CA": ca, "NODE_EXTRA_CA_CERTS": ca,
                "REQUESTS_CA_BUNDLE": ca,  # set elsewhere, it would beat the session's
                "HTTP": http, "SECONDS": int(seconds), "IDLE_MS": idle, "POOLS": pools,
                "PER_POOL": per_pool}
    env = os.environ | {name: str(value) for name, value in settings.items()}
    output = open(os.path.join(folder, f"{name}.err"), "wb")
    return subprocess.Popen(["nice", *clients.command(name)], env=env, stdout=subprocess.PIPE,
                            stderr=output, text=True)


def restart_all(running, number, every):
    """Not in step with the clients, which all begin anew after each."""
    pauses = [random.uniform(0.5, 1.5) for _ in range(number)]
    times = []
    due = time.monotonic()
    for pause in pauses:
        due += pause * every * number / sum(pauses)
        times.append(time.time())
        running.restart()
        time.sleep(max(0, due - time.monotonic()))
    return times


def finish(client, seconds):
    try:
        output, _ = client.communicate(timeout=SLOWEST)
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


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    programs = [servers.SERVERS[name][1] for name in options.servers]
    clients.build([program for program in programs if program])
    os.makedirs(options.results, exist_ok=True)
    path = os.path.join(options.results, "clients.json")
    results = json.load(open(path)) if options.add and os.path.exists(path) else []
    bad = 0
    for http in options.http:
        for run in options.runs:
            for server in options.servers:
                with tempfile.TemporaryDirectory() as folder:
                    result = measure(server, run, http, options, folder)
                    keep(folder, os.path.join(options.keep, f"{server} {run} {http}") if options.keep else None)
                same = (server, run, http)
                results = [r for r in results if (r["server"], r["run"], r["http"]) != same]
                results.append(result)
                bad += tell(result)
                results[-1] = table.compact(result)
                with open(path, "w") as file:
                    json.dump(results, file, indent=1)
    with open(os.path.join(options.results, "clients.md"), "w") as file:
        file.write(table.markdown(results))
    plot.draw(results, os.path.join(options.results, "clients.svg"))
    print(table.markdown(results))
    sys.exit(1 if bad else 0)


def tell(result):
    """Says what came of it; how many losses of ours are not known bugs of the client."""
    ours = result["server"] == "graceful-tls"
    unknown = 0
    total = sum(seen["requests"] for seen in result["clients"].values())
    lost = sum(len(seen["failed"]) for seen in result["clients"].values())
    print(f"{result['server']}, {result['run']}, HTTP/{result['http']}: {lost} of {total} failed, "
          f"{len(result['restarts'])} restarts", flush=True)
    for name, seen in result["clients"].items() if ours else []:
        errors = collections.Counter(
            (re.sub(r"\d{4,}", "N", failure["error"])[:300],
             known.issue(name, result["http"], failure["error"])) for failure in seen["failed"])
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
    if where:
        os.makedirs(where, exist_ok=True)
        for name in os.listdir(folder):
            if name.endswith((".log", ".err")):
                shutil.move(os.path.join(folder, name), os.path.join(where, name))


def parse():
    every = [name for name, _, _ in clients.CLIENTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="this crate alone, 4 restarts: for CI")
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
