"""libcurl, as it is: one multi handle for each pool, each worker with an easy handle it keeps."""

import io, random, threading, time

import pycurl

import common


class Worker:
    def __init__(self):
        self.methods = common.methods()
        self.easy = pycurl.Curl()
        self.easy.worker = self
        self.due = time.monotonic() + common.idle()
        self.busy = False
        self.begun = None

    def goes_on(self):
        return self.begun is None or common.going_on()

    def start(self, multi):
        self.method, url, body = next(self.methods)
        self.begun = time.time()
        self.got = io.BytesIO()
        easy = self.easy
        easy.reset()  # the options only: connections are the multi handle's
        easy.setopt(pycurl.URL, url)
        easy.setopt(pycurl.CAINFO, common.CA)
        easy.setopt(pycurl.WRITEDATA, self.got)
        if common.HTTP == "1":
            easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        if body is not None:
            easy.setopt(pycurl.POSTFIELDS, body)
        multi.add_handle(easy)
        self.busy = True

    def finish(self, multi, error):
        if error is None:
            status = self.easy.getinfo(pycurl.RESPONSE_CODE)
            error = common.judge(self.method, status, self.got.getvalue())
        multi.remove_handle(self.easy)
        common.count(self.method, self.begun, error)
        self.busy = False
        self.due = time.monotonic() + common.idle()


def pool():
    multi = pycurl.CurlMulti()
    workers = [Worker() for _ in range(common.PER_POOL)]
    while any(worker.busy or worker.goes_on() for worker in workers):
        for worker in workers:
            if not worker.busy and worker.due <= time.monotonic() and worker.goes_on():
                worker.start(multi)
        while multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        _, done, failed = multi.info_read()
        for easy in done:
            easy.worker.finish(multi, None)
        for easy, number, message in failed:
            easy.worker.finish(multi, f"{number}: {message}")
        dues = [worker.due for worker in workers if not worker.busy]
        wait = min(dues, default=time.monotonic() + 0.1) - time.monotonic()
        if any(worker.busy for worker in workers):
            multi.select(max(0.001, min(wait, 0.1)))
        else:
            time.sleep(max(0.001, min(wait, 0.1)))


pycurl.global_init(pycurl.GLOBAL_DEFAULT)
threads = [threading.Thread(target=pool) for _ in range(common.POOLS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
common.report("libcurl " + pycurl.version_info()[1])
