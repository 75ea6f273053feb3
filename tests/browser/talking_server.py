"""An HTTP server for tests that says what it is told: `POST /say` writes the body to its output.

With `--hostile` its first lines are what a page must never run or obey.
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07and plain",
    "</pre><h1 id=injected>injected</h1>",
]


class Talker(BaseHTTPRequestHandler):
    def answer(self) -> None:
        said = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if said:
            print(said.decode(), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"OK")

    do_GET = do_POST = answer  # noqa: N815 - the names that the library calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


if "--hostile" in sys.argv:
    print("\n".join(HOSTILE), flush=True)
if "--broken" in sys.argv:
    sys.exit(3)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Talker).serve_forever()
