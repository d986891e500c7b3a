"""Plain HTTP to servers on this machine: httpx, without the certificates of the public authorities.

httpx reads those for every client and every single call, at some 30 ms of CPU each.
"""

import ssl
from functools import partial

import httpx

_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Under this context every certificate is refused."""
_TIMEOUT = 60.0

request = partial(httpx.request, verify=_TRUSTS_NOBODY, trust_env=False, timeout=_TIMEOUT)
get = partial(httpx.get, verify=_TRUSTS_NOBODY, trust_env=False, timeout=_TIMEOUT)
post = partial(httpx.post, verify=_TRUSTS_NOBODY, trust_env=False, timeout=_TIMEOUT)
Client = partial(httpx.Client, verify=_TRUSTS_NOBODY, trust_env=False, timeout=_TIMEOUT)
AsyncClient = partial(httpx.AsyncClient, verify=_TRUSTS_NOBODY, trust_env=False, timeout=_TIMEOUT)
