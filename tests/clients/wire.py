"""What was on the wire around each loss, from the link's log and the server's."""

import collections, re

AROUND = 0.05


def explain(seen, ports, pools, link_log, server_log, most=12):
    """Text: for each failure the connections of its client that ended or carried it."""
    if not any(client["failed"] for client in seen.values()):
        return ""
    events = collections.defaultdict(list)
    where = {}
    for line in open(link_log):
        at, number, what = line.rstrip("\n").split(" ", 2)
        events[number].append((float(at), what))
        if began := re.match(r"from port \d+ to (\d+)", what):
            where[number] = int(began[1])
    lines = []
    for name, client in seen.items():
        mine = range(ports[name], ports[name] + pools)
        connections = [number for number, port in where.items() if port in mine]
        for failure in client["failed"][:most]:
            lines.append(f"{name}: {failure['method']} begun {failure['begun']:.3f}, failed "
                         f"{failure['at']:.3f}: {failure['error'][:400]}")
            for number in connections:
                if is_concerned(events[number], failure):
                    lines += shown(number, events[number], failure, server_log)
    return "\n".join(lines)


def cut(server_log):
    """What this crate's log says of connections that did not end in order."""
    return [line.strip() for line in open(server_log, errors="replace")
            if " outcome=" in line and " outcome=Clean" not in line]


def is_concerned(events, failure):
    """A connection on which something was sent when the request was, and that ended about then."""
    begun, failed = failure["begun"], failure["at"]
    ended = [at for at, what in events if "FIN" in what or "RST" in what or "refuses" in what]
    sent = [at for at, what in events if what.startswith("client sent")]
    return any(begun - 1 <= at <= failed + 1 for at in ended) and any(
        begun - AROUND <= at <= failed + AROUND for at in sent)


def shown(number, events, failure, server_log):
    lines = [f"    connection {number}:"]
    lines += [f"        {at:.3f} {what}" for at, what in events if at > failure["begun"] - 3][-14:]
    local = next((what.split()[-1] for _, what in events if what.startswith("to the")), None)
    said = [line.strip() for line in open(server_log, errors="replace")
            if local and re.search(rf":{local}\b", line)]
    return lines + [f"        server: {line[:220]}" for line in said[-6:]]
