"""A web server on this machine that publishes one file, well or badly."""

import contextlib
import http.server
import threading
from types import SimpleNamespace


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        p = self.server.publisher
        p.seen.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        if self.path in p.redirects:
            return self._head(302, {"Location": p.redirects[self.path]})
        if p.statuses:
            return self._head(p.statuses.pop(0), {"Content-Length": "0"})
        start, status = 0, 200
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if asked and p.ranges and (not p.if_range or condition in (p.etag, p.date)):
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(p.content):
                return self._head(416, {"Content-Range": f"bytes */{len(p.content)}", "Content-Length": "0"})
        body = p.content[start:]
        headers = {"Content-Type": p.type}
        headers |= {"Content-Length": str(len(body) + p.too_long)} if p.length else {}
        headers |= {"ETag": p.etag} if p.etag else {}
        headers |= {"Last-Modified": p.date} if p.date else {}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(p.content) - 1}/{len(p.content)}"
        self._head(status, headers)
        cut = p.cuts.pop(0) if p.cuts else p.always
        self.wfile.write(body[:cut])
        if p.stall:
            p.go.wait(20)
            self.wfile.write(body[cut:])

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def publishing(content):
    """A publisher: its address, what it shall do, and what it has `seen`: (path, Range, If-Range) by request."""
    publisher = SimpleNamespace(
        content=content,
        type="application/octet-stream",
        etag='"1"',
        date="",
        ranges=True,  # it can continue
        if_range=True,  # it knows If-Range
        cuts=[],  # the connections end after so many bytes of the body each
        always=None,  # and all after these
        length=True,  # it sends a Content-Length
        too_long=0,  # bytes that Content-Length says there are, and are not
        statuses=[],  # errors that it first answers with
        redirects={},
        stall=False,  # it waits where it would cut, until `go`
        go=threading.Event(),
        seen=[],
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.publisher, server.daemon_threads = publisher, True
        server.handle_error = lambda *client: None  # that it hung up
        publisher.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield publisher
        finally:
            publisher.go.set()
            server.shutdown()
            thread.join()
