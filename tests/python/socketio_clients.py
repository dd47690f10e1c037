"""Socket.IO clients of a second, independent make: polling, upgrade, echoes; one JSON report.

Arguments: URL COUNT ECHOES
"""

import asyncio
import json
import sys

import socketio


async def run_client(url, echoes, report, everybody_is_up):
    client = socketio.AsyncClient(reconnection=False)
    told = asyncio.get_running_loop().create_future()

    @client.on("server")
    def on_server(name):
        told.set_result(name)

    @client.on("disconnect")
    def on_disconnect(reason=None):
        if not everybody_is_up.is_set():
            report["disconnects"].append(str(reason))

    try:
        await client.connect(url, transports=["polling", "websocket"], wait_timeout=20)
    except socketio.exceptions.ConnectionError as error:
        report["connect_errors"].append(str(error))
        return
    name = await asyncio.wait_for(told, 20)
    report["servers"][name] = report["servers"].get(name, 0) + 1
    for number in range(echoes):
        sent = f"{number}/{'y' * 100}"
        got = await client.call("echo", sent, timeout=20)
        report["echoes"] += int(got == sent)
    report["upgraded"] += int(client.transport() == "websocket")
    report["waiting"] -= 1
    if report["waiting"] == 0:
        everybody_is_up.set()
    await asyncio.wait_for(everybody_is_up.wait(), 40)
    await client.disconnect()


async def main(url, count, echoes):
    report = {
        "waiting": count,
        "echoes": 0,
        "upgraded": 0,
        "connect_errors": [],
        "disconnects": [],
        "servers": {},
    }
    everybody_is_up = asyncio.Event()
    clients = [run_client(url, echoes, report, everybody_is_up) for _ in range(count)]
    outcomes = await asyncio.gather(*clients, return_exceptions=True)
    report["errors"] = [repr(outcome) for outcome in outcomes if outcome is not None]
    print(json.dumps(report), flush=True)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
