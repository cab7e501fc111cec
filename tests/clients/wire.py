"""What was on the wire around each loss, from the link's log and the server's."""

import collections, re

AROUND = 0.05
# What the server takes to act on what has arrived, and the link to see it.
PROMPT = 0.003
LATE = 0.5
# In bytes: shorter than any request, and than any answer.
ALERT, ANSWER = 60, 200


class Wires:
    def __init__(self, ports, run, link_log, server_log):
        self.ports, self.run, self.server_log = ports, run, server_log
        self.events = collections.defaultdict(list)
        self.where = {}
        for line in open(link_log):
            at, number, what = line.rstrip("\n").split(" ", 2)
            self.events[number].append((float(at), what))
            if began := re.match(r"from port \d+ to (\d+)", what):
                self.where[number] = int(began[1])

    def of(self, client):
        """The numbers of its connections."""
        mine = range(self.ports[client], self.ports[client] + self.run.pools)
        return [number for number, port in self.where.items() if port in mine]

    def explain(self, seen, most=12):
        """Text: for each failure the connections of its client that ended or carried it."""
        lines = []
        for name, client in seen.items():
            for failure in client["failed"][:most]:
                lines.append(f"{name}: {failure['method']} begun {failure['begun']:.3f}, failed "
                             f"{failure['at']:.3f}: {failure['error'][:400]}")
                for number in self.of(name):
                    if is_concerned(self.events[number], failure):
                        lines += self.shown(number, failure)
        return "\n".join(lines)

    def cut(self):
        """What this crate's log says of answers that were cut.

        Where the peer closed nothing was in flight, and with no request before there was no answer: a
        connection that a client opened in advance, and reset.
        """
        return [line.strip() for line in open(self.server_log, errors="replace")
                if re.search(r" outcome=(truncated|aborted)", line)
                and not (" cause=peer_closed " in line and " requests=0 " in line)]

    def mark_crossed(self, seen):
        """Which failures are of requests that had not arrived when the server ended the connection."""
        for name, client in seen.items():
            for failure in client["failed"]:
                late = [self.is_late(self.events[number], failure) for number in self.of(name)]
                late = [verdict for verdict in late if verdict is not None]
                failure["crossed"] = bool(late) and all(late)

    def is_late(self, events, failure):
        """None if it is another connection, or one on which there was an answer."""
        sent = [(at, int(what.split()[2])) for at, what in events
                if re.match(r"client sent \d", what)]
        arrived = [at for at, what in events if re.match(r"client's \d+ arrived", what)]
        ended = [at for at, what in events if re.match(r"server sent (FIN|RST)", what)]
        # A client that finds the end at once may have failed before the link sees its request.
        request = next((place for place, (at, size) in enumerate(sent) if size > ALERT
                        and failure["begun"] - AROUND <= at <= failure["at"] + LATE), None)
        if request is None or not ended or ended[0] < failure["begun"] - 1:
            return None
        if any(at >= sent[request][0] and int(what.split()[2]) > ANSWER
               for at, what in events if re.match(r"server sent \d", what)):
            return None
        return len(arrived) <= request or ended[0] < arrived[request] + PROMPT

    def shown(self, number, failure):
        events = self.events[number]
        lines = [f"    connection {number}:"]
        lines += [f"        {at:.3f} {what}" for at, what in events
                  if at > failure["begun"] - 3][-20:]
        local = next((what.split()[-1] for _, what in events if what.startswith("to the")), None)
        said = [line.strip() for line in open(self.server_log, errors="replace")
                if local and re.search(rf":{local}\b", line)]
        return lines + [f"        server: {line[:220]}" for line in said[-6:]]


def is_concerned(events, failure):
    """A connection on which something was sent when the request was, and that ended about then."""
    begun, failed = failure["begun"], failure["at"]
    ended = [at for at, what in events if "FIN" in what or "RST" in what or "refuses" in what]
    sent = [at for at, what in events if what.startswith("client sent")]
    return any(begun - 1 <= at <= failed + 1 for at in ended) and any(
        begun - AROUND <= at <= failed + AROUND for at in sent)
