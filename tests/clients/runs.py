"""The kinds of run: what is done to the server, and what the clients do meanwhile."""

from typing import NamedTuple

from servers import Settings

ALL = ("graceful-tls", "bare hyper-util", "axum-server", "nginx", "HAProxy",
       "HAProxy, idle-close-on-response")
# What idle-close-on-response does, it does at a restart or stop only.
ONCE = ALL[:-1]


class Run(NamedTuple):
    title: str
    round_trip: int  # how far away the clients are, there and back, in ms
    idle: tuple  # between two requests of a worker, from and to, in ms
    pools: int  # of each client
    workers: int  # of each pool
    http: str = "12"
    servers: tuple = ALL
    settings: Settings = Settings()
    # Seconds between two restarts over HTTP/1.1, and over HTTP/2; 0: there is none.
    every: tuple = (1, 1)
    # Two of the server are behind HAProxy, and restarted in turn.
    balanced: bool = False
    # Each worker makes one request, and amid these the server is told to stop.
    stops: bool = False
    # No answer can be had whole: what is counted is that somebody took one for it.
    cut: bool = False
    # A request may be lost whose bytes were on their way when the server ended its connection.
    crosses: bool = False
    get: str = "/bytes/2000"
    length: int = 2000  # what it answers
    post: str = "/echo"  # answers what it is sent; none: GETs only


# 50 chunks of 1 KiB in 10 s: longer than the slowest client takes to start.
SLOW = {"get": "/slow/50/200", "length": 50 * 1024, "post": ""}

RUNS = {
    "near": Run("restarts, 20 ms away, idle up to 0.3 s", 20, (0, 300), 2, 2),
    "idle": Run("restarts, 20 ms away, idle up to 3 s", 20, (0, 3000), 9, 4),
    # Over HTTP/2 a client far away needs 1.2 s for a connection and an answer, and each restart may
    # refuse what is on its way once more. Some give up at the third time: here none comes that fast.
    "far": Run("restarts, 600 ms away, idle up to 0.3 s", 600, (0, 300), 7, 4, every=(1, 2)),
    "rolling": Run("two behind HAProxy, restarted in turn", 20, (0, 300), 2, 2, balanced=True,
                   servers=ALL[:3], settings=Settings(lame_duck=3.5), every=(5.5, 5.5)),
    # HAProxy asks of neither whether it is there: each always is.
    "in place": Run("two behind HAProxy, replaced in turn", 20, (0, 300), 2, 2, balanced=True,
                    servers=ALL[:3], settings=Settings(in_place=True), every=(1, 1)),
    "stop": Run("stopped amid slow downloads", 20, (0, 0), 6, 4, stops=True,
                settings=Settings(patient_goaway=True), **SLOW),
    "deadline": Run("stopped, downloads longer than the deadline", 20, (0, 0), 6, 4, stops=True,
                    cut=True, settings=Settings(patience=2), **SLOW),
    # One worker has each connection for itself: it is idle for as long as the worker.
    "keep-alive": Run("idle about as long as the keep-alive time-out", 20, (930, 1050), 12, 1,
                      servers=ONCE, settings=Settings(keep_alive=1), every=(0, 0), crosses=True),
    "announced": Run("the same, announced by Keep-Alive: timeout=1", 20, (1930, 2050), 24, 1,
                     servers=("graceful-tls", "nginx"), http="1", every=(0, 0), crosses=True,
                     settings=Settings(keep_alive=2, announced=1)),
}
