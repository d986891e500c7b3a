"""Build the one TLS context that every call to the outside uses: whom it trusts, and each flag with its reason.

`ssl.create_default_context` changes with the interpreter: since Python 3.13 it sets two more flags, so one authority
was trusted by 3.11 and refused by 3.13, or the reverse. Here every choice is written out; the same authorities are
trusted on every interpreter, and `tests/test_trust.py` holds them to a table.
"""

from __future__ import annotations

import codecs
import os
import ssl
from typing import Final

from vending.connection import Broken, Cause

_CIPHERS: Final = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
"""Forward secrecy only. Security level 2 refuses RSA keys under 2,048 bits and SHA-1 in any certificate of a chain,
whatever the distribution that built OpenSSL has for a default."""


def trust(ca_pem: str | None) -> ssl.SSLContext:
    """Build a context that trusts the certificates in `ca_pem`, and no others; None means the public authorities.

    Public are those of `certifi`, or, as for every program that OpenSSL serves, those of the file `SSL_CERT_FILE` or
    the directory `SSL_CERT_DIR` instead. Raises `Broken` with `bad_trust` where certificates cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    # RFC 9525 section 2: the name is in subjectAltName. A common name is free text, and no name constraint binds it.
    context.hostname_checks_common_name = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325 section 3.1.1; every cloud and platform has it.
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(_CIPHERS)
    context.options = (
        ssl.OP_NO_COMPRESSION  # CRIME.
        | ssl.OP_NO_RENEGOTIATION  # A renegotiated peer would be another than the one that was verified.
        # Many servers close without `close_notify`. A cut body is found by its length, its chunks, or its JSON.
        | getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        | ssl.OP_ENABLE_MIDDLEBOX_COMPAT  # OpenSSL's default; without it some firewalls break TLS 1.3.
        | ssl.OP_CIPHER_SERVER_PREFERENCE
        | ssl.OP_SINGLE_DH_USE
        | ssl.OP_SINGLE_ECDH_USE
    )
    context.verify_flags = (
        # An anchor of ours ends the chain, even where the server sends a longer one.
        ssl.VERIFY_X509_TRUSTED_FIRST
        # What the operator gives is an anchor, be it a root, an intermediate or a server's own certificate: trusting
        # one intermediate is narrower than trusting its root. Public anchors are roots, so nothing changes for them.
        | ssl.VERIFY_X509_PARTIAL_CHAIN
    )
    # VERIFY_X509_STRICT stays off: it refuses authorities without key identifiers, or whose basicConstraints are not
    # critical, as tools for private authorities and clusters have made them for years. It guards against no
    # certificate that the anchor did not sign. Revocation is not checked (no CRL flag): no list would be at hand.
    # No `keylog_filename`: `create_default_context` writes session keys to whatever SSLKEYLOGFILE names.
    _load(context, ca_pem)
    return context


def pem_text(data: bytes) -> str:
    """Read a file of PEM certificates; a byte-order mark before them means nothing. Raises `ValueError`."""
    return data.removeprefix(codecs.BOM_UTF8).decode("ascii")


def _load(context: ssl.SSLContext, ca_pem: str | None) -> None:
    try:
        if ca_pem is not None:
            context.load_verify_locations(cadata=ca_pem)
        elif file := os.environ.get("SSL_CERT_FILE"):
            context.load_verify_locations(cafile=file)
        elif directory := os.environ.get("SSL_CERT_DIR"):
            context.load_verify_locations(capath=directory)
        else:
            import certifi

            context.load_verify_locations(cafile=certifi.where())
    except (OSError, ValueError):
        raise Broken(Cause.BAD_TRUST) from None
