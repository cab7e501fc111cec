"""httpx, as it is: one client for each pool."""

import asyncio, ssl, time

import httpx

import common


async def work(client):
    for method, url, body in common.methods():
        await asyncio.sleep(common.idle())
        begun = time.time()
        try:
            answer = await client.request(method, url, content=body)
            error = common.judge(method, answer.status_code, answer.content)
        except Exception as exception:
            error = common.shown(exception)
        common.count(method, begun, error)
        if not common.going_on():
            return


async def main():
    context = ssl.create_default_context(cafile=common.CA)
    workers = []
    for _ in range(common.POOLS):
        client = httpx.AsyncClient(verify=context, http2=common.HTTP == "2")
        workers += [work(client) for _ in range(common.PER_POOL)]
    await asyncio.gather(*workers)
    common.report(f"httpx {httpx.__version__}")


asyncio.run(main())
