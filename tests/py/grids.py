"""The three carbon APIs on loopback, as their documentation has them, and able to misbehave.

    with Grids() as grids:
        grids.faults.append(status(500))       # the next request
        grids.always = drip(0.2)               # every one, until None

Requests are kept in `grids.seen` as (path, headers), when they came in `grids.times`.
"""
import base64
import http.server
import json
import threading
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

KEY = "em-key-4711-hush"
USER, PASSWORD = "somebody", "wt-pass-4711-hush"


def text_of(moment, form="%Y-%m-%dT%H:%M:%SZ"):
    return moment.strftime(form)


def time_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# ---- faults: called with the handler, in place of the right answer -------------------------------

def status(code, body=b"{}", **headers):
    def fault(handler):
        handler.answer(code, body, headers)
    return fault


def body(data):
    return status(200, data)


def drip(seconds):
    """A byte at a time, for longer than anyone should wait."""
    def fault(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        try:
            for _ in range(int(60 / seconds)):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                if handler.server.grids.closed.wait(seconds):
                    return
        except OSError:
            pass
    return fault


def silence(handler):
    handler.server.grids.closed.wait(60)


def reset(handler):
    """Breaks off in the middle: RST, since SO_LINGER is 0."""
    import socket
    import struct
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"zone":')
    handler.wfile.flush()
    handler.connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, code, data, headers=None):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:
            pass

    def do_GET(self):
        grids = self.server.grids
        grids.seen.append((self.path, dict(self.headers)))
        grids.times.append(time.monotonic())
        # None in the list stands for a right answer.
        fault = grids.faults.pop(0) if grids.faults else grids.always
        if fault is not None:
            try:
                fault(self)
            except (OSError, ValueError):
                pass
            return
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        code, value = grids.reply(url.path, query, self.headers)
        self.answer(code, json.dumps(value).encode())


class Grids:
    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.grids = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.closed = threading.Event()
        self.faults, self.always, self.seen, self.times = [], None, [], []
        self.tokens = set()      # WattTime's, as given out
        self.value = 300         # g/kWh (Electricity Maps, UK), lb/MWh (WattTime)
        self.estimated = True    # Electricity Maps: the newest hour
        self.now = None          # else the clock
        self.final = False       # what is open is closed already, with the value as it is now
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()

    def clock(self):
        return self.now or datetime.now(timezone.utc)

    def reply(self, path, query, headers):
        if path.startswith("/v3/carbon-intensity/"):
            return self.electricity_maps(path.rsplit("/", 1)[1], query, headers)
        if path == "/login":
            return self.login(headers)
        if path in ("/v3/historical", "/v3/forecast"):
            return self.watttime(path.rsplit("/", 1)[1], query, headers)
        if path.startswith("/intensity/") or path.startswith("/regional/intensity/"):
            return self.uk(path)
        return 404, {"error": "no such path"}

    # ---- Electricity Maps, API v3

    def electricity_maps(self, what, query, headers):
        if headers.get("auth-token") != KEY:
            return 401, {"error": "invalid auth-token"}
        if query["zone"] not in ("DE", "FR"):
            return 404, {"error": "no such zone"}
        hour = self.clock().replace(minute=0, second=0, microsecond=0)

        def one(at, estimated):
            return {"datetime": text_of(at), "carbonIntensity": self.value, "updatedAt":
                    text_of(at + timedelta(minutes=10)), "createdAt": text_of(at),
                    "emissionFactorType": query["emissionFactorType"], "isEstimated": estimated,
                    "estimationMethod": "TIME_SLICER_AVERAGE" if estimated else None}
        if what == "latest":
            return 200, {"zone": query["zone"], **one(hour, self.estimated)}
        if what == "history":
            return 200, {"zone": query["zone"],
                         "history": [one(hour - timedelta(hours=i), i < 2 and not self.final)
                                     for i in range(23, -1, -1)]}
        begin, end = time_of(query["start"]), time_of(query["end"])
        if end - begin > timedelta(days=10):
            return 400, {"error": "at most 10 days"}
        n = int((end - begin).total_seconds() // 3600)
        return 200, {"zone": query["zone"],
                     "data": [one(begin + timedelta(hours=i), False) for i in range(n)]}

    # ---- WattTime, API v3

    def login(self, headers):
        word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if headers.get("Authorization") != "Basic " + word:
            return 403, {"error": "invalid"}
        token = f"token-{len(self.tokens)}-hush"
        self.tokens.add(token)
        return 200, {"token": token}

    def watttime(self, what, query, headers):
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, {"error": "invalid token"}
        now = self.clock().replace(second=0, microsecond=0)
        now -= timedelta(minutes=now.minute % 5)
        if what == "historical":
            last = now + timedelta(minutes=5 * self.final)
            begin, end = time_of(query["start"]), min(time_of(query["end"]), last)
            begin -= timedelta(minutes=begin.minute % 5, seconds=begin.second)
            if end - begin > timedelta(days=32):
                return 400, {"error": "at most 32 days"}
        else:
            begin, end = now, now + timedelta(hours=int(query["horizon_hours"]))
        data = [{"point_time": text_of(begin + timedelta(minutes=5 * i), "%Y-%m-%dT%H:%M:%S+00:00"),
                 "value": self.value, "version": "2026-01-01"}
                for i in range(int((end - begin).total_seconds() // 300))]
        return 200, {"data": data, "meta": {
            "data_point_period_seconds": 300, "region": query["region"], "warnings": [],
            "signal_type": query["signal_type"], "model": {"date": "2026-01-01"},
            "units": "lbs_co2_per_mwh", "generated_at": text_of(now)}}

    # ---- the UK

    def uk(self, path):
        parts = path.strip("/").split("/")
        regional = parts[0] == "regional"
        begin, end = map(time_of, parts[2:4] if regional else parts[1:3])
        begin -= timedelta(minutes=begin.minute % 30, seconds=begin.second)
        now, data = self.clock(), []
        while begin < end:
            closed = self.final or begin + timedelta(minutes=30) <= now
            intensity = {"forecast": self.value + 7, "index": "moderate"}
            if not regional:
                intensity["actual"] = self.value if closed else None
            data.append({"from": text_of(begin, "%Y-%m-%dT%H:%MZ"),
                         "to": text_of(begin + timedelta(minutes=30), "%Y-%m-%dT%H:%MZ"),
                         "intensity": intensity})
            begin += timedelta(minutes=30)
        if regional:
            return 200, {"data": {"regionid": int(parts[5]), "shortname": "London", "data": data}}
        return 200, {"data": data}


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
