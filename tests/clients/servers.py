"""The servers: each is started, told to restart without losing anything, and stopped."""

import os, re, signal, socket, subprocess, time

from clients import ROOT

RESTART = os.path.join(ROOT, "target", "release", "examples", "restart")
# How long an old process may live on, of whichever server.
PATIENCE = 60
LOG = "info,ecdysis=error,graceful_tls=debug"


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
    """The example `restart`: this crate, or bare hyper-util with the same hand-over."""

    version = "this tree"

    def __init__(self, folder, port, kind="graceful", name="server"):
        self.said = os.path.join(folder, f"{name}.log")
        self.pid_file = os.path.join(folder, f"{name}.pid")
        output = open(self.said, "ab")
        self.first = subprocess.Popen(
            [RESTART, "--listen", f"127.0.0.1:{port}", "--pid-file", self.pid_file,
             "--server", kind, "--cert", os.path.join(folder, "cert.pem"),
             "--key", os.path.join(folder, "key.pem"),
             "--shutdown-timeout-ms", str(PATIENCE * 1000)],
            stdout=output, stderr=output, env=dict(os.environ, RUST_LOG=LOG))
        await_port(port)

    def pids(self):
        return [int(pid) for pid in re.findall(r"\(pid (\d+)\)", open(self.said).read())]

    def restart(self):
        before = len(self.pids())
        os.kill(int(open(self.pid_file).read()), signal.SIGUSR2)
        begun = time.monotonic()
        while len(self.pids()) == before:
            if time.monotonic() - begun > 20:
                raise OSError(f"no restart: see {self.said}")
            time.sleep(0.02)

    def stop(self):
        """Kills those that it said it is, where they still are what they were."""
        for pid in self.pids():
            try:
                if self.pid_file.encode() in open(f"/proc/{pid}/cmdline", "rb").read():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.first.wait()


class Master:
    """A server with a master process, which reloads on a signal."""

    def __init__(self, folder, port):
        self.backend_port = free_ports(1)
        self.backend = Restart(folder, self.backend_port, name="backend")
        self.folder = folder
        self.output = open(os.path.join(folder, "server.log"), "ab")
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
        os.killpg(self.master.pid, signal.SIGKILL)
        self.master.wait()
        self.backend.stop()


class Nginx(Master):
    reload = signal.SIGHUP

    def command(self, port):
        config = f"""
daemon off;
user root;
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log;
worker_processes 2;
worker_shutdown_timeout {PATIENCE}s;
events {{ worker_connections 4096; }}
http {{
    access_log off;
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
    option = ""

    def command(self, port):
        config = f"""
global
    stats socket {self.folder}/haproxy.sock mode 600 expose-fd listeners
    hard-stop-after {PATIENCE}s
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
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


def run_for_version(*command):
    ran = subprocess.run(command, capture_output=True, text=True)
    return ran.stdout + ran.stderr


# Name: what starts it, the program it needs.
SERVERS = {
    "graceful-tls": (Restart, None),
    "bare hyper-util": (lambda folder, port: Restart(folder, port, "bare"), None),
    "nginx": (Nginx, "nginx"),
    "HAProxy": (Haproxy, "haproxy"),
    "HAProxy, idle-close-on-response": (PatientHaproxy, "haproxy"),
}
