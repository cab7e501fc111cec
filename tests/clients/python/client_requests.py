"""requests, as it is. A session is not meant for several threads, so each has its own."""

import threading, time

import requests

import common


def work():
    session = requests.Session()
    session.verify = common.CA
    for method, url, body in common.methods():
        time.sleep(common.idle())
        begun = time.time()
        try:
            answer = session.request(method, url, data=body)
            error = common.judge(method, answer.status_code, answer.content)
        except Exception as exception:
            error = common.shown(exception)
        common.count(method, begun, error)
        if not common.going_on():
            return


threads = [threading.Thread(target=work) for _ in range(common.POOLS * common.PER_POOL)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
common.report(f"requests {requests.__version__}")
