"""What all black-box tests share: the program under test, models, data.

./check sets the environment; `VERDANT_BUILD=build pytest tests/py` works by hand too.
"""
import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: more than a few seconds; not in ./check quick")
    config.addinivalue_line("markers", "soak: minutes; only in ./check soak")
    config.addinivalue_line("markers", "threads: ./check full runs it over the servers of the "
                                       "sanitizer builds too")
    # Servers of the tests write no ledger but one that a test names in its configuration.
    os.environ["VERDANT_LEDGER"] = "off"
    # BLAS's threads wait busily for each other; beside another test they take its core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A shell starts what runs in the background with SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def build() -> Path:
    """The meson build directory."""
    path = Path(os.environ.get("VERDANT_BUILD", ROOT / "build")).resolve()
    if not (path / "build.ninja").exists():
        pytest.fail(f"there is no build in {path}: run meson setup {path} and ninja -C {path}")
    return path


@pytest.fixture(scope="session")
def verdant(build):
    """Runs `verdant ARGS...` and gives the finished process; text unless binary=True."""

    def run(*args, binary=False, timeout=300, env=None, **more):
        return subprocess.run([build / "verdant", *map(str, args)], capture_output=True,
                              text=not binary, timeout=timeout,
                              env={**os.environ, **(env or {})}, **more)

    return run


@pytest.fixture(scope="session")
def model() -> Path:
    """SmolLM2-135M-Instruct Q4_1, as ./check fetched it."""
    path = os.environ.get("VERDANT_TEST_MODEL")
    if not path:
        pytest.skip("VERDANT_TEST_MODEL is not set (./check fetches the model and sets it)")
    return Path(path)


@pytest.fixture(scope="session")
def data() -> Path:
    """Real data made by others; absent on a bare clone."""
    path = os.environ.get("VERDANT_TEST_DATA")
    if not path:
        pytest.skip("VERDANT_TEST_DATA is not set")
    return Path(path)


@pytest.fixture(scope="session")
def tiny_server(build, tmp_path_factory):
    """The real server over two tiny random models, serving.MODELS."""
    from serving import CTX, MODELS, start, tiny_model

    folder = tmp_path_factory.mktemp("tiny")
    models = {name: (tiny_model(folder / f"{kind}.gguf", vocab=kind, n_ctx=CTX, seed=7), {})
              for name, kind in zip(MODELS, ("bpe", "spm"), strict=True)}
    with start(build, folder, models) as server:
        yield server
