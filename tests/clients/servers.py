"""The servers: each is started, told to restart or to stop without losing anything, and ended."""

import functools, os, re, signal, socket, subprocess, time
from typing import NamedTuple

from clients import ROOT, TARGET

RESTART = os.path.join(TARGET, "release", "examples", "restart_testbed")
LOG = "info,graceful_tls=debug"


class Settings(NamedTuple):
    """Of whichever server, in seconds."""

    patience: float = 60  # how long it may live on once it was told to go
    lame_duck: float = 0.25
    keep_alive: int = None  # its own, if not given
    announced: int = None  # by the header Keep-Alive
    patient_goaway: bool = False  # of this crate
    in_place: bool = False  # behind a balancer: replaced there, and not stopped and started again


_next_port = 20000 + os.getpid() % 97 * 100


def free_ports(count):
    """Ports in a row that nobody listens on, below those that the kernel gives to clients."""
    global _next_port
    for _ in range(400):
        first, _next_port = _next_port, _next_port + count
        if _next_port > 32000:
            _next_port = 20000
        elif all(is_free(port) for port in range(first, first + count)):
            return first
    raise OSError("no free ports")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def await_port(port):
    for _ in range(400):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
    raise OSError(f"nobody listens on {port}")


def make_certificates(folder):
    """ca.pem, and cert.pem with key.pem for localhost and 127.0.0.1, signed by it."""
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl += ["-nodes", "-days", "30"]
    quiet = {"check": True, "cwd": folder, "stderr": subprocess.DEVNULL}
    subprocess.run([*openssl, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=clients CA"],
                   **quiet)
    subprocess.run([*openssl, "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "key.pem", "-out",
                    "cert.pem", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-addext", "basicConstraints=critical,CA:FALSE",
                    "-addext", "extendedKeyUsage=serverAuth"], **quiet)
    with open(os.path.join(folder, "both.pem"), "w") as both:
        for name in ("cert.pem", "key.pem"):
            both.write(open(os.path.join(folder, name)).read())


class Restart:
    """The feature `restart`: this crate, or others with the same hand-over, to compare with."""

    version = "this tree"

    def __init__(self, folder, port, settings, kind="graceful", name="server", log="server"):
        self.said = os.path.join(folder, f"{log}.log")
        self.pid_file = os.path.join(folder, f"{name}.pid")
        output = open(self.said, "ab")
        command = [RESTART, "--listen", f"127.0.0.1:{port}", "--pid-file", self.pid_file,
                   "--max-old-processes=100", "--server", kind, "--cert", os.path.join(folder, "cert.pem"),
                   "--key", os.path.join(folder, "key.pem"),
                   *milliseconds("--shutdown-timeout-ms", settings.patience),
                   *milliseconds("--lame-duck-ms", settings.lame_duck),
                   *milliseconds("--keep-alive-ms", settings.keep_alive),
                   *milliseconds("--keep-alive-header-ms", settings.announced),
                   *(["--patient-goaway"] if settings.patient_goaway else [])]
        self.first = subprocess.Popen(
            command, stdout=output, stderr=output, env=dict(os.environ, RUST_LOG=LOG))
        await_port(port)

    def pids(self):
        return [int(pid) for pid in re.findall(r"\(pid (\d+)\)", open(self.said).read())]

    def signal(self, number):
        os.kill(int(open(self.pid_file).read()), number)

    def restart(self):
        before = len(self.pids())
        self.signal(signal.SIGUSR2)
        begun = time.monotonic()
        while len(self.pids()) == before:
            if time.monotonic() - begun > 20:
                raise OSError(f"no restart: see {self.said}")
            time.sleep(0.02)

    def stop(self):
        self.signal(signal.SIGTERM)

    def end(self):
        """Kills those that it said it is, where they still are what they were."""
        for pid in self.pids():
            try:
                if self.pid_file.encode() in open(f"/proc/{pid}/cmdline", "rb").read():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.first.wait()


def milliseconds(option, seconds):
    return [] if seconds is None else [option, str(round(seconds * 1000))]


class Master:
    """A server with a master process, which reloads on a signal. Those behind it are not restarted."""

    log = "server.log"

    def __init__(self, folder, port, settings):
        self.folder, self.settings = folder, settings
        self.backend_port = free_ports(1)
        self.backends = [Restart(folder, self.backend_port, Settings(), name="backend", log="backend")]
        self.begin(port)

    def begin(self, port):
        self.output = open(os.path.join(self.folder, self.log), "ab")
        self.master = subprocess.Popen(
            self.command(port), stdout=self.output, stderr=self.output, start_new_session=True)
        await_port(port)
        if self.master.poll() is not None:
            raise OSError(f"{self.master.args[0]} does not run: see {self.output.name}")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def restart(self):
        os.kill(self.master.pid, self.reload)

    def stop(self):
        os.kill(self.master.pid, self.leave)

    def end(self):
        try:
            os.killpg(self.master.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has stopped
        self.master.wait()
        for backend in self.backends:
            backend.end()


class Nginx(Master):
    reload = signal.SIGHUP
    leave = signal.SIGQUIT

    def command(self, port):
        keep_alive, announced = self.settings.keep_alive, self.settings.announced
        kept = f"keepalive_timeout {keep_alive}s {announced or ''};" if keep_alive else ""
        config = f"""
daemon off;
user root;
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log;
worker_processes 2;
worker_shutdown_timeout {self.settings.patience}s;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {kept}
    client_body_temp_path {self.folder}/body;
    proxy_temp_path {self.folder}/proxy;
    fastcgi_temp_path {self.folder}/fastcgi;
    uwsgi_temp_path {self.folder}/uwsgi;
    scgi_temp_path {self.folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=1024;
        ssl_certificate {self.folder}/cert.pem;
        ssl_certificate_key {self.folder}/key.pem;
        location / {{ proxy_pass https://127.0.0.1:{self.backend_port}; }}
    }}
}}
"""
        return ["nginx", "-p", self.folder, "-c", self.write("nginx.conf", config)]

    @property
    def version(self):
        return re.search(r"nginx/(\S+)", run_for_version("nginx", "-v"))[1]


class Haproxy(Master):
    reload = signal.SIGUSR2
    leave = signal.SIGUSR1
    option = ""

    def command(self, port):
        keep_alive = self.settings.keep_alive
        kept = f"timeout http-keep-alive {keep_alive}s" if keep_alive else ""
        config = f"""
global
    stats socket {self.folder}/haproxy.sock mode 600 expose-fd listeners
    hard-stop-after {self.settings.patience}s
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    {kept}
frontend clients
    bind 127.0.0.1:{port} ssl crt {self.folder}/both.pem alpn h2,http/1.1
    {self.option}
    default_backend app
backend app
    server app 127.0.0.1:{self.backend_port} ssl verify none
"""
        return ["haproxy", "-W", "-db", "-f", self.write("haproxy.cfg", config)]

    @property
    def version(self):
        return re.search(r"version (\d\S*?)-", run_for_version("haproxy", "-v"))[1]


class PatientHaproxy(Haproxy):
    option = "option idle-close-on-response"


class Balanced(Master):
    """HAProxy before two servers that take turns to stop and start again, or to be replaced."""

    log = "balancer.log"

    def __init__(self, folder, port, settings, kind="graceful"):
        self.folder, self.turn, self.in_place = folder, 0, settings.in_place
        self.ports = [free_ports(1), free_ports(1)]
        self.starts = [functools.partial(Restart, folder, port, settings, kind, name)
                       for port, name in zip(self.ports, "ab")]
        self.backends = [start() for start in self.starts]
        self.begin(port)
        self.await_both()

    def command(self, port):
        """As the example has it."""
        config = open(os.path.join(ROOT, "examples", "behind_a_balancer", "haproxy.cfg")).read()
        file = lambda name: os.path.join(self.folder, name)
        for theirs, ours in (("127.0.0.1:8443", f"127.0.0.1:{port}"),
                             ("127.0.0.1:9441", f"127.0.0.1:{self.ports[0]}"),
                             ("127.0.0.1:9442", f"127.0.0.1:{self.ports[1]}"),
                             ("unix@haproxy.sock", f"unix@{file('haproxy.sock')}"),
                             ("ca-file server.crt", f"ca-file {file('ca.pem')}"),
                             ("crt server.crt", f"crt {file('both.pem')}")):
            if theirs not in config:
                raise ValueError(f"the example's haproxy.cfg has no {theirs}")
            config = config.replace(theirs, ours)
        return ["haproxy", "-W", "-db", "-f", self.write("haproxy.cfg", config)]

    def restart(self):
        which, self.turn = self.turn, 1 - self.turn
        if self.in_place:
            return self.backends[which].restart()
        self.backends[which].stop()
        self.backends[which].first.wait()
        self.backends[which] = self.starts[which]()
        self.await_both()

    def await_both(self):
        """Until HAProxy uses the two."""
        for _ in range(400):
            with socket.socket(socket.AF_UNIX) as asks:
                asks.connect(os.path.join(self.folder, "haproxy.sock"))
                asks.sendall(b"show stat\n")
                said = b"".join(iter(lambda: asks.recv(65536), b"")).decode()
            if len(re.findall(r"^servers,[ab],.*,UP,", said, re.M)) == 2:
                return
            time.sleep(0.05)
        raise OSError(f"HAProxy does not find both: see {self.output.name}")

    version = Restart.version


def run_for_version(*command):
    ran = subprocess.run(command, capture_output=True, text=True)
    return ran.stdout + ran.stderr


# Name: what starts it, what starts two of it behind HAProxy, the program it needs.
SERVERS = {
    "graceful-tls": (Restart, Balanced, None),
    "bare hyper-util": (functools.partial(Restart, kind="bare"),
                        functools.partial(Balanced, kind="bare"), None),
    "axum-server": (functools.partial(Restart, kind="axum-server"),
                    functools.partial(Balanced, kind="axum-server"), None),
    "nginx": (Nginx, None, "nginx"),
    "HAProxy": (Haproxy, None, "haproxy"),
    "HAProxy, idle-close-on-response": (PatientHaproxy, None, "haproxy"),
}
