"""What all the clients in Python share: settings, a count, and what a right answer is."""

import itertools, json, os, random, threading, time

URL = os.environ["URL"]
CA = os.environ["CA"]
HTTP = os.environ["HTTP"]
POOLS = int(os.environ["POOLS"])
PER_POOL = int(os.environ["PER_POOL"])
UNTIL = float(os.environ["UNTIL"])
GET = os.environ["GET"]
LENGTH = int(os.environ["LENGTH"])
POST = os.environ["POST"]
BODY = b"b" * 1000

_lock = threading.Lock()
_requests = 0
_failed = []


def going_on():
    return time.time() < UNTIL


def idle():
    """Seconds between two requests."""
    return random.uniform(int(os.environ["IDLE_FROM_MS"]), int(os.environ["IDLE_MS"])) / 1000


def methods():
    """GET and POST in turn: method, URL, body."""
    asked = [("GET", URL + GET, None), ("POST", URL + POST, BODY)][: 2 if POST else 1]
    random.shuffle(asked)
    return itertools.cycle(asked)


def wanted(method):
    return BODY if method == "POST" else b"x" * LENGTH


def judge(method, status, got):
    """None, or what is wrong with an answer."""
    if status == 200 and got == wanted(method):
        return None
    return f"{status}, {len(got)} bytes"


def shown(error):
    """An exception with its causes."""
    parts = []
    while error is not None and len(parts) < 6:
        parts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return " <- ".join(parts)


def count(method, begun, error):
    global _requests
    with _lock:
        _requests += 1
        if error is not None:
            _failed.append({"begun": begun, "at": time.time(), "method": method, "error": error})


def report(version):
    print(json.dumps({"version": version, "requests": _requests, "failed": _failed}))
