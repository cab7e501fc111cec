"""Losses that are proven bugs of a client: nothing that a server does can avoid them all.

Client, HTTP version, what the error says, where the bug is reported.
"""

import re

BUGS = [
    # Fails every stream at a GOAWAY, those too that it says are not processed. Fixed in JDK 24.
    ("jdk", "2", r"^java\.io\.IOException: .*: GOAWAY received", "JDK-8335181"),
]


def issue(client, http, error):
    for name, version, pattern, where in BUGS:
        if name == client and version == http and re.search(pattern, error):
            return where
    return None
