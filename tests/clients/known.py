"""Losses that are proven bugs of a client: nothing that a server does can avoid them all.

Client, HTTP version, what the error says, where the bug is reported.
"""

import re

BUGS = [
    # Fails every stream at a GOAWAY, those too that it says are not processed. Fixed in JDK 24.
    ("jdk", "2", r"^java\.io\.IOException: .*: GOAWAY received", "JDK-8335181"),
    # The same moment: a request that a thread adds while another handles the GOAWAY is neither sent
    # nor failed. Seen with every kind of server; the link's log has no request without an answer.
    ("jdk", "2", r"^hangs, and has no answer", "JDK-8335181"),
    # h2 takes the connection for closed at a GOAWAY; httpcore does not send again what another task
    # was sending just then, though the GOAWAY says that it was not processed.
    ("httpx", "2", r"^RemoteProtocolError: <ConnectionTerminated error_code:0.*"
                   r"Invalid input ConnectionInputs\.SEND_\w+ in state ConnectionState\.CLOSED",
     "python-hyper/h2 #1181, encode/httpcore #730 and #1054"),
    # httpcore fails a stream whose answer came in the same read as the GOAWAY, if another stream's
    # task did the reading: _receive_events looks for a GOAWAY before it looks for the answer.
    ("httpx", "2", r"^RemoteProtocolError: <ConnectionTerminated error_code:0, last_stream_id:\d+, "
                   r"additional_data:None> <- RemoteProtocolError: <[^>]*>$", "encode/httpcore #730 and #1054"),
    # h2 fails at frames that come behind a GOAWAY.
    ("httpx", "2", r"Invalid input ConnectionInputs\.RECV_\w+ in state ConnectionState\.CLOSED",
     "python-hyper/h2 #1199"),
]


# No bug: HTTP/1 has no way to say what was not processed (RFC 9112 9.5), so that a request that
# crosses the end of its idle connection is lost, unless the client dares to send it again.
CROSSED = "crossed the end: RFC 9112 9.5"


def issue(client, http, failure):
    for name, version, pattern, where in BUGS:
        if name == client and version == http and re.search(pattern, failure["error"]):
            return where
    return CROSSED if http == "1" and failure.get("crossed") else None
