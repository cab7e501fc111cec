"""Headless Chromium with a page that fetches. Prints what the page has counted."""

import http.server, json, os, shutil, signal, subprocess, sys, tempfile, threading, time, urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
done = threading.Event()
seen = {}


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(open(os.path.join(HERE, "page.html"), "rb").read())

    def do_POST(self):
        seen.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")
        done.set()

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def arguments(port, profile):
    # A pool belongs to an origin: the link has a port for each.
    first = urllib.parse.urlsplit(os.environ["URL"])
    ports = [first.port + pool for pool in range(int(os.environ["POOLS"]))]
    settings = {
        "urls": [f"https://{first.hostname}:{port}" for port in ports],
        "perPool": int(os.environ["PER_POOL"]),
        "until": float(os.environ["UNTIL"]),
        "idleMs": [int(os.environ["IDLE_FROM_MS"]), int(os.environ["IDLE_MS"])],
        "get": os.environ["GET"],
        "length": int(os.environ["LENGTH"]),
        "post": os.environ["POST"],
    }
    query = urllib.parse.urlencode({name: json.dumps(value) for name, value in settings.items()})
    return [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--no-first-run", "--disable-background-networking",
        "--disable-extensions", "--mute-audio",
        "--ignore-certificate-errors",
        "--disable-web-security",  # the page is of another origin
        *(["--disable-http2"] if os.environ["HTTP"] == "1" else []),
        f"http://127.0.0.1:{port}/?{query}",
    ]


version = subprocess.run(["chromium", "--version"], capture_output=True, text=True).stdout.split()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
profile = tempfile.mkdtemp()
browser = subprocess.Popen(
    arguments(server.server_port, profile), stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL, start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
try:
    arrived = done.wait(max(0, float(os.environ["UNTIL"]) - time.time()) + 60)
finally:
    os.killpg(browser.pid, signal.SIGKILL)
    browser.wait()
    shutil.rmtree(profile, ignore_errors=True)
if not arrived:
    sys.exit("the page has not said what it saw")
print(json.dumps({"version": "Chromium " + version[1], **seen}))
