"""A hub as Hugging Face runs it, on two loopback servers: one that lists and redirects, and one on
another host and port that has the bytes of large files. Both can be told to misbehave.

    hub = Hub()
    hub.add("org/repo", {"m.gguf": b"..."})
    hub.fault("files", "m.gguf", cut(1000), status(503))    # the next two requests for its bytes

What it answers follows the hub's own client: huggingface_hub downloads from it, as a test shows.
"""
import hashlib
import http.server
import json
import threading
import time
from urllib.parse import parse_qs, quote, unquote, urlsplit

LARGE = 1000  # bytes from which a file lies on the other host


# Faults: (handler, content, start) -> None, in place of the right answer. `start` is the first byte
# that was asked for.

def cut(n):
    """Breaks off after n bytes."""
    def fault(handler, content, start):
        handler.head(content, start)
        handler.wfile.write(content[start:start + n])
    return fault


def stall(n, seconds):
    """Falls silent after n bytes."""
    def fault(handler, content, start):
        cut(n)(handler, content, start)
        handler.wfile.flush()
        time.sleep(seconds)
    return fault


def slow(seconds):
    """The right answer, in twenty pieces."""
    def fault(handler, content, start):
        handler.head(content, start)
        piece = (len(content) - start) // 20 + 1
        for at in range(start, len(content), piece):
            handler.wfile.write(content[at:at + piece])
            handler.wfile.flush()
            time.sleep(seconds / 20)
    return fault


def status(code, body=b"", **headers):
    def fault(handler, content, start):
        handler.answer(code, body, **headers)
    return fault


def instead(other, **headers):
    """Bytes of another file, with a head that fits them."""
    def fault(handler, content, start):
        handler.answer(200, other, **headers)
    return fault


def unbounded(other):
    """Bytes of another file, without a length."""
    def fault(handler, content, start):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(other)
    return fault


def no_ranges(handler, content, start):
    """All of it, whatever was asked for."""
    handler.answer(200, content, ETag=handler.etag(content))


def shifted(by):
    """A range that begins elsewhere, and says so."""
    def fault(handler, content, start):
        handler.head(content, start - by)
        handler.wfile.write(content[start - by:])
    return fault


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    role = ""

    def log_message(self, *args):
        pass

    @property
    def hub(self):
        return self.server.hub

    def etag(self, content):
        tag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return {"strong": f'"{tag}"', "weak": f'W/"{tag}"', "none": None}[self.hub.etags]

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, content, start, **headers):
        """Of an answer with content[start:]."""
        self.send_response(206 if start else 200)
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        for name, value in {"Content_Length": len(content) - start, "ETag": self.etag(content),
                            "Content_Type": "application/octet-stream", **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def give(self, content, start, **headers):
        condition = self.headers.get("If-Range")
        if condition is not None and condition != self.etag(content):
            start = 0
        if start >= len(content) > 0:
            self.answer(416, Content_Range=f"bytes */{len(content)}")
            return
        self.head(content, start, **headers)
        if self.command != "HEAD":
            self.wfile.write(content[start:])

    def do_GET(self):
        parts = urlsplit(self.path)
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        seen = {"server": self.role, "method": self.command, "path": unquote(parts.path),
                "query": parts.query, "range": wanted, "if_range": self.headers.get("If-Range"),
                "authorization": self.headers.get("Authorization")}
        self.hub.seen.append(seen)
        try:
            self.serve(parts, start)
        except OSError:
            pass  # the client has had enough

    do_HEAD = do_GET

    def misbehave(self, name, content, start):
        """Whether a fault was waiting."""
        queue = self.hub.faults.get((self.role, name.rsplit("/", 1)[-1]))
        if not queue or self.command == "HEAD":
            return False
        queue.pop(0)(self, content, start)
        return True


class FilesHandler(Handler):
    """The host of large files: /SHA256?name=...&signature=..."""
    role = "files"

    def serve(self, parts, start):
        query = parse_qs(parts.query)
        content = self.hub.blobs.get(parts.path[1:])
        if content is None:
            self.answer(404)
        elif query["signature"][0] != self.hub.signature:
            self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif not self.misbehave(query["name"][0], content, start):
            self.give(content, start)


class HubHandler(Handler):
    role = "hub"

    def refuse(self, code, name=None, text=None):
        self.answer(code, json.dumps({"error": text or name}).encode(), X_Error_Code=name,
                    X_Error_Message=text, Content_Type="application/json")

    def may_read(self, repo):
        """Answers, where not."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        gate = self.hub.gates.get(repo)
        if token and token not in self.hub.accounts:
            self.refuse(401, None, "Invalid credentials in Authorization header")
        elif repo not in self.hub.repos or (gate and gate[0] == "private" and token not in gate[1]):
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif gate and token not in gate[1]:
            self.refuse(403 if token else 401, "GatedRepo", f"Access to model {repo} is restricted")
        else:
            return True
        return False

    def serve(self, parts, start):
        path = [unquote(part) for part in parts.path.split("/")[1:]]
        if path[:3] == ["api", "resolve-cache", "models"] and len(path) >= 7:
            self.serve_cached("/".join(path[3:5]), path[5], "/".join(path[6:]), start)
        elif path[:2] == ["api", "models"] and len(path) >= 4:
            self.serve_api(path, parse_qs(parts.query))
        elif len(path) >= 5 and path[2] == "resolve":
            self.serve_file("/".join(path[:2]), path[3], "/".join(path[4:]), start)
        else:
            self.answer(404, b"<html>no such page</html>", Content_Type="text/html")

    def serve_api(self, path, query):
        repo, what = "/".join(path[2:4]), path[4] if len(path) > 4 else ""
        revision = path[5] if len(path) > 5 else "main"
        if self.misbehave(what or "model", b"", 0) or not self.may_read(repo):
            return
        files = self.hub.files(repo, revision)
        if files is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif what == "tree" and not self.hub.no_tree:
            self.serve_tree(repo, revision, files, int(query.get("cursor", ["0"])[0]))
        elif what in ("", "revision"):
            siblings = [{"rfilename": name, "size": len(content),
                         **({"lfs": {"sha256": hashlib.sha256(content).hexdigest(),
                                     "size": len(content), "pointerSize": 134}}
                            if len(content) >= LARGE else {})} for name, content in files.items()]
            self.answer(200, json.dumps({"id": repo, "modelId": repo, "sha": self.hub.commit,
                                         "private": False, "tags": [], "downloads": 0,
                                         "siblings": siblings}).encode(),
                        Content_Type="application/json")
        else:
            self.answer(404, b"{}")

    def serve_tree(self, repo, revision, files, begin):
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "some-folder"}]
        entries += [self.hub.entry(name, content) for name, content in files.items()]
        entries += self.hub.extra_entries
        end = begin + (self.hub.page or len(entries))
        link = None
        if end < len(entries):
            link = (f"<{self.hub.next_url or self.hub.url}/api/models/{repo}/tree/"
                    f"{quote(revision, safe='')}?recursive=true&cursor={end}>; rel=\"next\"")
        self.answer(200, json.dumps(entries[begin:end]).encode(), Link=link,
                    Content_Type="application/json")

    def serve_file(self, repo, revision, name, start):
        if not self.may_read(repo):
            return
        files = self.hub.files(repo, revision)
        content = (files or {}).get(name)
        if files is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif content is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
        elif self.misbehave(name, content, start):
            pass
        elif len(content) < LARGE:
            self.answer(307, X_Repo_Commit=self.hub.commit, X_Linked_Size=len(content),
                        ETag=self.etag(content),
                        Location=f"/api/resolve-cache/models/{repo}/{quote(revision, safe='')}/"
                                 f"{quote(name)}")
        else:
            self.hub.redirect(content, name)(self, content, start)

    def serve_cached(self, repo, revision, name, start):
        """A small file, after a redirect on the same host."""
        if self.may_read(repo):
            self.give(self.hub.files(repo, revision)[name], start, X_Repo_Commit=self.hub.commit)


class Hub:
    def __init__(self):
        self.repos, self.revisions, self.gates, self.faults = {}, {}, {}, {}
        self.accounts = {"hf_good", "hf_other"}
        self.seen, self.blobs, self.extra_entries = [], {}, []
        self.lies_of_size, self.lies_of_hash = {}, {}
        self.page, self.next_url, self.no_tree = None, None, False
        self.etags, self.signature, self.commit = "strong", "1", "c0ffee" + "0" * 34
        self.servers = []
        for handler in (HubHandler, FilesHandler):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            server.hub = self
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self.servers.append(server)
        self.url = f"http://127.0.0.1:{self.servers[0].server_address[1]}"
        self.files_url = f"http://localhost:{self.servers[1].server_address[1]}"

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, repo, files, revision="main"):
        self.repos.setdefault(repo, {})[revision] = dict(files)

    def files(self, repo, revision):
        revisions = self.repos[repo]
        return revisions.get("main" if revision == self.commit else revision)

    def entry(self, name, content):
        entry = {"type": "file", "oid": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
                 "size": len(content), "path": name}
        if len(content) >= LARGE:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content),
                            "pointerSize": 134}
        return entry

    def redirect(self, content, name, signature=None):
        """The right answer of the hub, with another signature where one is given."""
        digest = hashlib.sha256(content).hexdigest()
        size = self.lies_of_size.get(name, len(content))
        said = self.lies_of_hash.get(name, digest)
        self.blobs[digest] = content

        def answer(handler, content, start):
            handler.answer(302, ETag=f'"{said}"', X_Linked_ETag=f'"{said}"', X_Linked_Size=size,
                           X_Repo_Commit=self.commit,
                           Location=f"{self.files_url}/{digest}?name={quote(name, safe='')}"
                                    f"&signature={signature or self.signature}")
        return answer

    def fault(self, server, name, *faults):
        """For the next requests for `name` (a file; "tree" or "revision" for listings) of "hub" or
        "files"."""
        self.faults.setdefault((server, name), []).extend(faults)

    def asked(self, server, ending=""):
        return [seen for seen in self.seen
                if seen["server"] == server and (seen["path"] + seen["query"]).endswith(ending)]
