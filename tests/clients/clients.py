"""The clients: how each is built, and how it is run. Nothing of them is changed or tuned."""

import os, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
BUILT = os.path.join(TARGET, "clients")
VENV = os.path.join(BUILT, "venv", "bin", "python")
JARS = ["httpclient5", "httpcore5", "httpcore5-h2", "slf4j-api", "slf4j-nop"]
CLASSES = ":".join([os.path.join(BUILT, "java")] + [f"/usr/share/java/{jar}.jar" for jar in JARS])


def here(*path):
    return os.path.join(HERE, *path)


def rust(name):
    return os.path.join(BUILT, "cargo", "release", name)


# What a start of it costs is no business of ours: two cores have to start eleven clients.
JAVA = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", CLASSES]

# Name, HTTP versions, command.
CLIENTS = [
    ("requests", "1", [VENV, here("python", "client_requests.py")]),
    ("httpx", "12", [VENV, here("python", "client_httpx.py")]),
    ("aiohttp", "1", [VENV, here("python", "client_aiohttp.py")]),
    ("libcurl", "12", [VENV, here("python", "client_curl.py")]),
    ("node-fetch", "1", ["node", here("node", "fetch.js")]),
    ("node-agent", "1", ["node", here("node", "agent.js")]),
    ("reqwest", "12", [rust("reqwest")]),
    ("go", "12", [os.path.join(BUILT, "go-client")]),
    ("jdk", "12", [*JAVA, "Jdk"]),
    ("apache", "1", [*JAVA, "Apache"]),
    ("chromium", "12", [sys.executable, here("chromium", "chromium.py")]),
]


def names(http):
    return [name for name, versions, _ in CLIENTS if http in versions]


def command(wanted):
    return next(command for name, _, command in CLIENTS if name == wanted)


def run(*command, **options):
    subprocess.run(["nice", *command], check=True, **options)


def build(servers):
    """Builds what is missing: the server, the link, and the clients."""
    os.makedirs(BUILT, exist_ok=True)
    run("cargo", "build", "--release", "--example", "restart_testbed", cwd=ROOT)
    cargo = dict(os.environ, CARGO_TARGET_DIR=os.path.join(BUILT, "cargo"))
    run("cargo", "build", "--release", "--locked", cwd=here("rust"), env=cargo)
    run("go", "build", "-o", os.path.join(BUILT, "go-client"), ".", cwd=here("go"))
    classes = os.path.join(BUILT, "java")
    sources = [here("java", name) for name in ("Common.java", "Jdk.java", "Apache.java")]
    run("javac", "-d", classes, "-cp", CLASSES, *sources)
    if not os.path.exists(VENV):
        run(sys.executable, "-m", "venv", os.path.join(BUILT, "venv"))
    run(VENV, "-m", "pip", "install", "--quiet", "-r", here("python", "requirements.txt"))
    needed = ["node", "java", "chromium", *(name for name in servers if shutil.which(name) is None)]
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        sys.exit(f"not installed: {' '.join(missing)} (README.md says which packages)")
