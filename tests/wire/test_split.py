"""Wherever the network cuts a message, it means the same."""

import json
import os
import time

from harness import Case, SLOW, main, public, request

HEADS = {
    "GET": request("GET", "/split?a=b", [("X-A", "1"), ("Accept", "*/*")]),
    "length": request("POST", "/split", [("X-A", "1")], b"hello world"),
    "chunked": b"POST /split HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
    "pipelined": request("GET", "/split/1") + request("POST", "/split/2", [], b"abc") + request("GET", "/split/3"),
    "refused": b"GET /split HTTP/1.1\r\nHost: app.test\r\nX : 1\r\n\r\n",
}
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-B: 1\r\n\r\nhello world",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    "bad": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Length: 12\r\n\r\nhello world",
}


def what(message):
    """What must not depend on the cut."""
    if not message.body.startswith(b"{"):
        return message.status, bytes(message.body)
    body = json.loads(message.body)
    if "target" not in body:
        return message.status, message.body
    fields = [f for f in body["fields"] if f[0].lower() in ("x-a", "accept", "content-length", "transfer-encoding")]
    return message.status, body["method"], body["target"], fields, body["length"], body["sha256"], body["trailers"]


class Split(Case):
    @classmethod
    def routes(cls, up):
        return [public(up)]

    @classmethod
    def settings(cls, up):
        return {"workers": 1}

    def answers(self, pieces, count, pause=0.002):
        with self.client() as c:
            for i, piece in enumerate(pieces):
                if i:
                    time.sleep(pause)
                c.send(piece)
            return [what(c.response()) for _ in range(count)]

    def test_requests(self):
        """Cut in two at every byte, and sent byte by byte."""
        for name, raw in HEADS.items():
            with self.subTest(name):
                count = 3 if name == "pipelined" else 1
                whole = self.answers([raw], count)
                self.assertEqual(whole[0][0], 400 if name == "refused" else 200)
                for cut in range(1, len(raw), 5 if SLOW else 1):
                    self.assertEqual(self.answers([raw[:cut], raw[cut:]], count), whole, "cut at %d" % cut)
                self.assertEqual(
                    self.answers([raw[i : i + 1] for i in range(len(raw))], count, 0.0005), whole, "byte by byte"
                )

    def test_responses(self):
        """The same for what the upstream sends."""
        for name, raw in ANSWERS.items():
            with self.subTest(name):
                for cut in range(0, len(raw), 5 if SLOW else 1):

                    def handler(c, r, cut=cut, raw=raw):
                        c.send(raw[:cut])
                        time.sleep(0.002)
                        c.send(raw[cut:])
                        if name == "bad":
                            c.close()

                    path = "/answer/%s/%d" % (name, cut)
                    self.up.on(path, handler)
                    m = self.ask("GET", path, [("TE", "trailers")])
                    if name == "bad":
                        self.assertStatus(m, 502, "cut at %d" % cut)
                    else:
                        self.assertEqual((m.status, m.body), (200, b"hello world"), "cut at %d" % cut)
                        self.assertEqual(len(m.trailers), 1 if name == "chunked" else 0)

    def test_random_pieces(self):
        """A larger pipeline in pieces of all sizes."""
        raw = b"".join(request("POST", "/r/%d" % i, [], os.urandom(i * 7)) for i in range(40))
        whole = self.answers([raw], 40)
        for size in (3, 17, 1000):
            self.assertEqual(self.answers([raw[i : i + size] for i in range(0, len(raw), size)], 40, 0), whole)


if __name__ == "__main__":
    main()
