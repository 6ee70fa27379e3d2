"""What the tests of `verdant pull` share: small models, and a store of their own."""
import hashlib
import os
import struct
import subprocess

import pytest
from hub import Hub


def model_bytes(size=400_000, fill=1, no=0, count=1):
    """A GGUF file of one I8 tensor that takes `size` bytes; one of `count` shards where that is not
    1, number `no` from 1."""
    def text(s):
        return struct.pack("<Q", len(s)) + s
    split = count > 1
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 4 if split else 1)
    head += text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    if split:
        for key, kind, code, value in ((b"no", 2, "H", no - 1), (b"count", 2, "H", count),
                                       (b"tensors.count", 5, "i", count)):
            head += text(b"split." + key) + struct.pack("<I" + code, kind, value)
    head += text(f"t{no}".encode()) + struct.pack("<IQIQ", 1, size, 24, 0)
    body = (bytes(range(256)) * (size // 256 + 1))[:size - 1] + bytes([fill])
    return head + b"\0" * (-len(head) % 32) + body + b"\0" * (-size % 32)


MODEL = model_bytes()
HALF = len(MODEL) // 2
SHA = hashlib.sha256(MODEL).hexdigest()
REPO = "org/some-model-GGUF"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def pull(verdant, home):
    def run(*args, **more):
        env = {"VERDANT_HOME": str(home), "no_proxy": "127.0.0.1", **more.pop("env", {})}
        return verdant("pull", *args, env=env, **more)
    return run


def stored(home):
    """The names in the store, and that nothing else lies there."""
    folder = home / "models"
    if not folder.exists():
        return []
    return sorted(p.name for p in folder.iterdir())


def fine(result, home, name, content):
    """The pull succeeded, and `content` alone lies in the store."""
    assert result.returncode == 0, result.stderr
    assert (home / "models" / f"{name}.gguf").read_bytes() == content
    assert stored(home) == [f"{name}.gguf", f"{name}.json"]


@pytest.fixture
def hub():
    h = Hub()
    h.add(REPO, {"README.md": b"# a model", "m.gguf": MODEL, "config.json": b"{}"})
    yield h
    h.close()


@pytest.fixture
def env(hub, home, tmp_path):
    """What the program under test shall see of the world: this hub, and no token of the user's."""
    return {"VERDANT_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": "", "HF_TOKEN_PATH": "", "HF_HUB_DOWNLOAD_TIMEOUT": "20",
            "no_proxy": "127.0.0.1,localhost"}


@pytest.fixture
def get(pull, env):
    def run(ref=f"hf:{REPO}:m.gguf", *args, **more):
        return pull(ref, *args, env={**env, **more})
    return run


def refused(result, *words):
    assert result.returncode == 1, result.stdout
    assert result.stderr.splitlines()[-1].startswith("verdant pull: ")
    for word in words:
        assert word in result.stderr, result.stderr


def start(build, env, *args):
    return subprocess.Popen([build / "verdant", "pull", *args], env={**os.environ, **env},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
