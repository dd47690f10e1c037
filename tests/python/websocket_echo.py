"""WebSocket echo with the `websockets` library: a server, or a client of 1 B to 16 MiB messages.

Arguments: server | client URL. The server says its port as a JSON line, the client its report.
"""

import asyncio
import json
import random
import sys

import websockets

LONGEST = 64 << 20
SIZES = [0, 1, 2, 125, 126, 127, 4096, 16383, 16384, 65535, 65536, 1 << 20, 16 << 20]


async def serve():
    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=LONGEST, compression=None) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        await asyncio.Future()


async def echo_all(url):
    same = 0
    async with websockets.connect(url, max_size=LONGEST, compression=None) as connection:
        for size in SIZES:
            sent = random.Random(size).randbytes(size)
            await connection.send(sent)
            same += int(await connection.recv() == sent)
    print(json.dumps({"same": same, "of": len(SIZES)}), flush=True)


if sys.argv[1] == "server":
    asyncio.run(serve())
else:
    asyncio.run(echo_all(sys.argv[2]))
