"""A real nats-server for tests: its own port, its own store; killed, wiped and started again at will."""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAM = shutil.which("nats-server") or "/usr/sbin/nats-server"


class NatsServer:
    """One server. ``store`` keeps what it keeps; ``extra`` is added to its configuration."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.store = folder / "store"
        self.port = free_port()
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.store}", max_file: 4GB, max_mem: 16MB }}\n'
            + self._extra
        )
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "-c", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1.0):
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError((self.folder / "nats.log").read_text(errors="replace")[-2000:])

    def kill(self) -> None:
        """As a power cut would: no word to anybody."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Everything that JetStream had is gone."""
        shutil.rmtree(self.store, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def need_nats_server() -> None:
    """Skip without Debian's package nats-server; on the build machine fail."""
    if not Path(PROGRAM).exists():
        reason = "no nats-server on this machine: make system installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def nats_server(tmp_path):
    need_nats_server()
    folder = tmp_path / "nats"
    folder.mkdir()
    server = NatsServer(folder)
    server.start()
    yield server
    server.kill()


def seed_text(seed):
    """A user's nkey seed as its file has it."""
    raw = bytes([18 << 3 | 20 >> 2, (20 & 3) << 6]) + seed  # "S" and "U", five bits each, and padding to whole bytes
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")
