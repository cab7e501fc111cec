"""aiohttp, as it is: one session for each pool."""

import asyncio, ssl, time

import aiohttp

import common


async def work(session):
    for method, url, body in common.methods():
        await asyncio.sleep(common.idle())
        begun = time.time()
        try:
            async with session.request(method, url, data=body) as answer:
                error = common.judge(method, answer.status, await answer.read())
        except Exception as exception:
            error = common.shown(exception)
        common.count(method, begun, error)
        if not common.going_on():
            return


async def main():
    context = ssl.create_default_context(cafile=common.CA)
    workers = []
    for _ in range(common.POOLS):
        connector = aiohttp.TCPConnector(ssl=context)
        session = aiohttp.ClientSession(connector=connector)
        workers += [work(session) for _ in range(common.PER_POOL)]
    await asyncio.gather(*workers)
    common.report(f"aiohttp {aiohttp.__version__}")


asyncio.run(main())
