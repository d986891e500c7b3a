"""Shake hands with a server of each constellation, on whatever interpreter runs this; needs the standard library only.

Reads the constellations as JSON from standard input and prints a cause for each: `trusted`, or a name of `Cause`.
"""

import json
import socket
import ssl
import sys
import tempfile
import threading
from pathlib import Path

from vending.connection import cause_of
from vending.trust import trust


def shake(ca: str, chain: str, key: str) -> str:
    """Return how a client that trusts `ca` fares with a server that sends `chain`."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "server.pem")
        file.write_text(chain + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT@SECLEVEL=0")  # Servers may be weak; it is the client that refuses.
        context.load_cert_chain(file)
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=_serve, args=(context, theirs))
    serving.start()
    try:
        with ours, trust(ca).wrap_socket(ours, server_hostname="localhost") as client:
            client.recv(1)
        return "trusted"
    except OSError as error:
        return str(cause_of(error))
    finally:
        serving.join()


def _serve(context: ssl.SSLContext, sock: socket.socket) -> None:
    try:
        with sock, context.wrap_socket(sock, server_side=True) as server:
            server.send(b"x")
    except OSError:
        pass  # The client has refused.


if __name__ == "__main__":
    rows = json.load(sys.stdin)
    print(json.dumps({row["name"]: shake(row["ca"], row["chain"], row["key"]) for row in rows}))
