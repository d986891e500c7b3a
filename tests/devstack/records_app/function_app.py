"""An app that writes every event of EVENTS from every place that a record may come from.

`/bare/…` writes plain log records, so that the host's rule shows; `/noted/…` writes through the operations log, which
loses none. `/next` is any later request.
"""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import azure.functions as func

from vending import operations_log

EVENTS: list[str] = json.loads(os.environ["EVENTS"])
BARE = logging.getLogger("records")
WRITE = {
    "bare": lambda event, place: BARE.warning('{"event": "%s", "place": "%s"}', event, place),
    "noted": lambda event, place: operations_log.note(logging.WARNING, event, place=place),
}

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
outlived = asyncio.Event()
background: set[asyncio.Task[None]] = set()

operations_log.deliver_by_requests()
for kind in WRITE:
    for name in EVENTS:
        WRITE[kind](name, f"{kind} import")


@app.route("records/{kind}")
async def records(req: func.HttpRequest) -> func.HttpResponse:
    """Write every event from the handler, its tasks and callbacks, threads, executors, and from after the answer."""
    chosen = req.route_params["kind"]

    def write(place: str) -> Callable[[], None]:
        def all_events() -> None:
            for event in EVENTS:
                WRITE[chosen](event, f"{chosen} {place}")

        return all_events

    async def in_a_task() -> None:
        write("task")()

    async def after_the_answer() -> None:
        await outlived.wait()
        write("outliving task")()

    with operations_log.request():
        loop = asyncio.get_running_loop()
        write("handler")()
        await asyncio.create_task(in_a_task())
        loop.call_soon(write("call_soon"))
        await asyncio.sleep(0)
        await asyncio.to_thread(write("to_thread"))
        with ThreadPoolExecutor(1) as pool:
            await loop.run_in_executor(pool, write("executor"))
        thread = threading.Thread(target=write("thread"))
        thread.start()
        thread.join()
        task = asyncio.create_task(after_the_answer())
        background.add(task)
        task.add_done_callback(background.discard)
    return func.HttpResponse("written")


@app.route("next")
async def next_request(req: func.HttpRequest) -> func.HttpResponse:
    """Let what waits go on, and be a request of its own."""
    with operations_log.request():
        outlived.set()
        await asyncio.gather(*background)
    return func.HttpResponse("next")
