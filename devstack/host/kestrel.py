"""What Kestrel, the platform's web server, refuses before any middleware runs, on top of uvicorn's HTTP protocol.

Each rule is beside its source in dotnet/aspnetcore, `src/Servers/Kestrel/Core/src`. A refusal is an empty answer that
closes the connection. httptools stays stricter than Kestrel about what no client sends (control characters in a
header's name, one transfer coding twice).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_LINE_LIMIT = 8 * 1024
"""`KestrelServerLimits.MaxRequestLineSize`: bytes of the request line with its line break; more is a 414."""
HEADERS_LIMIT = 32 * 1024 + 2
"""`MaxRequestHeadersTotalSize`, and the blank line after them (`Http1Connection.OnReset`); more is a 431."""
HEADER_COUNT_LIMIT = 100
"""`MaxRequestHeaderCount`, the Host header included; more is a 431."""

_REQUEST_LINE = re.compile(
    rb"(?P<method>[!#$%&'*+\-.^_`|~0-9A-Za-z]+) (?P<target>[^ ?%][^ ]*) (?P<version>[^\r]*)\r?\n"
)
"""`HttpParser.ParseRequestLine`: the target neither is empty nor begins with a blank, `?` or `%`."""
_LINE_END = re.compile(rb"\r?\n")
_HEAD_END = re.compile(rb"\n\r?\n")
_HEADER_LINE = re.compile(rb"(?P<name>[^\x00: \t\r\x80-\xff]+):(?P<value>[^\x00\r]*)")
"""`HttpParser.TakeSingleHeader`: no blank in or after the name, no lone CR or NUL in the value."""
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\])(?::\d+)?")
"""`HttpUtilities.IsHostHeaderValid`."""
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"


class Refused(Exception):
    """Kestrel answers with this status by itself; None closes the connection without an HTTP answer."""

    def __init__(self, status: int | None, allow: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.allow = allow


@dataclass(frozen=True)
class Head:
    """The head of a request that Kestrel takes; `end` is where its body begins. `length` is None for a chunked body."""

    method: bytes
    target: bytes
    end: int
    length: int | None


def check_head(data: bytes) -> Head | None:
    """Return the first request's head in `data`, or None while it is incomplete. Raise Refused."""
    line_end = data.find(b"\n", 0, REQUEST_LINE_LIMIT)
    if line_end < 0:
        if len(data) >= REQUEST_LINE_LIMIT:
            raise Refused(414)  # Http1Connection.TakeStartLine, RequestLineTooLong
        return None
    method, target, version = _request_line(data[: line_end + 1])
    headers_start = line_end + 1
    found = _HEAD_END.search(data, line_end, headers_start + HEADERS_LIMIT)
    if found is None:
        if len(data) - headers_start >= HEADERS_LIMIT:
            raise Refused(431)  # Http1Connection.TakeMessageHeaders, HeadersExceedMaxTotalSize
        return None
    length = _check_headers(method, target, version, list(_headers(data[headers_start : found.start()])))
    return Head(method, target, found.end(), length)


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    if line == _HTTP2_PREFACE:
        raise Refused(None)  # Http1Connection.DetectHttp2Preface: a GOAWAY frame
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or not match["target"].isascii() or b"\0" in match["target"]:
        raise Refused(400)
    if match["version"] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise Refused(505)  # HttpParser.RejectUnknownVersion
    return match["method"], match["target"], match["version"]


def _headers(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not block:
        return
    for count, line in enumerate(block.split(b"\n"), 1):
        if count > HEADER_COUNT_LIMIT:
            raise Refused(431)  # HttpProtocol.IncrementRequestHeadersCount, TooManyHeaders
        match = _HEADER_LINE.fullmatch(line.removesuffix(b"\r"))
        if match is None or not _is_utf8(match["value"]):
            raise Refused(400)
        yield match["name"].lower(), match["value"].strip(b" \t")


def _is_utf8(value: bytes) -> bool:
    """Return whether it decodes: Kestrel reads header values as UTF-8 (`HttpHeaders`, `EncodingHelper`)."""
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_headers(method: bytes, target: bytes, version: bytes, headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return the length of the body, None for a chunked one."""
    hosts = [value.decode() for name, value in headers if name == b"host"]
    lengths = [value for name, value in headers if name == b"content-length"]
    if len(lengths) > 1 or not all(length.isdigit() and int(length) < 2**63 for length in lengths):
        raise Refused(400)  # HttpRequestHeaders.AppendContentLength: equal ones too, and what is no 64 bit integer
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise Refused(400)  # Http1Connection.EnsureHostHeaderExists
    if hosts:
        _check_host(hosts[0], method, target)
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    chunked = bool(codings) and codings[-1].rpartition(b",")[2].strip().lower() == b"chunked"
    if codings and not chunked:
        raise Refused(400)  # Http1MessageBody.For, FinalTransferCodingNotChunked
    if version == b"HTTP/1.0" and method in (b"POST", b"PUT") and not lengths and not chunked:
        raise Refused(400)  # Http1MessageBody.For, LengthRequiredHttp10
    return None if chunked else int(lengths[0]) if lengths else 0


def _check_host(host: str, method: bytes, target: bytes) -> None:
    """Refuse a bad Host header, and one that a target with an authority contradicts."""
    if target == b"*":
        if method != b"OPTIONS":
            raise Refused(405, allow="OPTIONS")  # OnAsteriskFormTarget
    elif not target.startswith(b"/"):
        authority = _authority(target)
        if authority is None and method != b"CONNECT":
            raise Refused(405, allow="CONNECT")  # OnAuthorityFormTarget
        if host not in (authority or {target.decode()}):
            raise Refused(400)  # ValidateNonOriginHostHeader
    if not _HOST.fullmatch(host):
        raise Refused(400)


def _authority(target: bytes) -> set[str] | None:
    """Return the Host values that agree with an absolute target; None when it is not one."""
    parts = urlsplit(target.decode("ascii"))
    if parts.scheme.lower() not in ("http", "https"):
        return None
    name, _, port = parts.netloc.rpartition("@")[2].partition(":")
    default = "443" if parts.scheme.lower() == "https" else "80"
    name = name.lower()
    return {name, f"{name}:{default}"} if port in ("", default) else {f"{name}:{port}"}


def _as_parsed(head: Head, data: bytes) -> bytes:
    """Write a head for the parser: its request line as it knows them, and no line that ends in LF alone."""
    rest = data[len(head.method) + len(head.target) + 2 :]
    return b"POST / " + (rest if rest.count(b"\n") == rest.count(b"\r\n") else _LINE_END.sub(b"\r\n", rest))


class KestrelProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol behind Kestrel's limits.

    The parser knows a list of methods, opens a tunnel for CONNECT, and has opinions on targets and line ends; Kestrel
    takes whatever passed `check_head`, and none of it changes how the body is read. So the parser is told `POST /`, and
    the app what was sent.
    """

    _waiting = b""
    _head: Head | None = None
    _body_left: int | None = 0
    """Bytes of the body that are still to come; None for a chunked body, which the parser finds the end of."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._renew_parser()

    def data_received(self, data: bytes) -> None:
        """Hold each request's head back until it is complete and Kestrel would take it."""
        self._waiting += data
        while self._waiting and not self._is_busy():
            piece = self._waiting[: self._body_left] if self._body_left != 0 else self._next_head()
            if not piece:
                return
            self._waiting = self._waiting[len(piece) :]
            if self._body_left:
                self._body_left -= len(piece)
            super().data_received(piece if self._head is None else _as_parsed(self._head, piece))

    def _is_busy(self) -> bool:
        """Return whether nothing may be read now: a request is answered before the next one is looked at."""
        if self.transport.is_closing():
            return True
        return self._body_left == 0 and not getattr(self.cycle, "response_complete", True)

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile."""
        super().on_response_complete()
        self.data_received(b"")

    def _next_head(self) -> bytes:
        # Empty lines between requests are skipped (Http1Connection.ParseRequest).
        self._waiting = self._waiting.lstrip(b"\r\n")
        try:
            self._head = check_head(self._waiting)
        except Refused as refused:
            self._refuse(refused)
            return b""
        return b"" if self._head is None else self._waiting[: self._head.end]

    def on_headers_complete(self) -> None:
        """Begin to answer what was sent."""
        super().on_headers_complete()
        if self._head is not None:
            self.scope["method"] = self._head.method.decode("ascii")
            self.scope["raw_path"], _, self.scope["query_string"] = self._head.target.partition(b"?")
            self.scope["path"] = unquote(self.scope["raw_path"].decode("ascii"))
            self._body_left = self._head.length
            self._head = None

    def on_message_complete(self) -> None:
        """Take what follows as another request."""
        self._body_left = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser refuses; of a body only behind the answer, since the host reads no chunked one."""
        if self._body_left == 0:
            self._refuse(Refused(400))
            return
        self.cycle.keep_alive = self.cycle.more_body = False
        self.cycle.message_event.set()

    def _unsupported_upgrade_warning(self) -> None:
        """Go on in HTTP/1.1, as Kestrel does where no middleware takes the upgrade."""
        self._renew_parser()

    def _renew_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        # Of two framings the chunked one counts (RFC 9112 section 6.3), here as in Kestrel.
        self.parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_chunked_length=True, lenient_data_after_close=True
        )

    def _refuse(self, refused: Refused) -> None:
        self._unset_keepalive_if_required()
        self._waiting = b""
        if refused.status is not None:
            allow = f"Allow: {refused.allow}\r\n" if refused.allow else ""
            phrase = HTTPStatus(refused.status).phrase
            answer = (
                f"HTTP/1.1 {refused.status} {phrase}\r\nContent-Length: 0\r\nConnection: close\r\n{allow}"
                "Server: Kestrel\r\n\r\n"
            )
            self.transport.write(answer.encode("ascii"))
        self.transport.close()


def decode_path(raw: bytes) -> str | None:
    """Decode a request path: `%2F` stays, dot segments go (`PathDecoder`). None for what is refused with 400.

    Of an absolute target only the path is taken; `*` and an authority have none.
    """
    if not raw.startswith(b"/"):
        parts = urlsplit(raw.decode("ascii"))
        if parts.scheme.lower() not in ("http", "https"):
            return ""
        raw = parts.path.encode("ascii") or b"/"
    kept = re.sub(rb"%2[fF]", lambda found: b"%25" + found[0][1:], raw)
    try:
        path = unquote_to_bytes(kept).decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in path else _without_dots(path)


def _without_dots(path: str) -> str:
    """Remove `.` and `..` segments (RFC 3986 section 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
