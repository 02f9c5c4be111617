"""A real mail server for tests: Debian's Exim, fetched once and unpacked beside the system, run on loopback in a throw-away folder.

Nothing is installed and no user is added: a wrapper around its name look-ups tells Exim about the account it was built for.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from tests.support.kafka import free_port

PACKAGES = ("exim4-daemon-light", "libidn12", "libgnutls-dane0", "libunbound8", "libnsl2", "libnss-wrapper")
NOBODY = 61_234
"""The user that Exim takes for its own when root starts it; it must not be root."""
START_WITHIN_S = 20.0
FETCH_WITHIN_S = 120
CONFIGURATION = """\
primary_hostname = localhost
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
queue_only = true
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
pipelining_advertise_hosts = {pipelining}
smtp_accept_max = 200
smtp_accept_max_nonmail = 1000
message_logs = false
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  deny    message = 5.1.1 no such user
          local_parts = gone
  defer   message = 4.7.1 greylisted, try again in 300 seconds
          local_parts = grey
  accept
data:
  deny    message = 5.7.1 this looks like spam
          condition = ${{if match{{$message_body}}{{XSPAMX}}}}
  accept
begin routers
begin transports
"""


class NoEximError(Exception):
    """Exim is not available here; the text says why."""


@dataclass(frozen=True)
class Exim:
    """A running server."""

    port: int
    folder: Path

    def mails(self) -> list[tuple[str, EmailMessage]]:
        """Return the mails it has accepted, each with its recipient: a mail accepted twice is here twice."""
        return [_mail(head) for head in sorted(self.folder.glob("spool/input/**/*-H"))]


@contextmanager
def running_exim(*, pipelining: bool = True) -> Iterator[Exim]:
    """Run a server until the end of the block."""
    root = fetched()
    folder = Path(tempfile.mkdtemp(prefix="dunwell-exim-"))
    port = free_port()
    owner = NOBODY if os.getuid() == 0 else os.getuid()
    (folder / "exim.conf").write_text(CONFIGURATION.format(folder=folder, pipelining="*" if pipelining else ""))
    (folder / "passwd").write_text(f"root:x:0:0::/:/bin/sh\nDebian-exim:x:{owner}:{owner}::/:/bin/sh\n")
    (folder / "group").write_text(f"root:x:0:\nDebian-exim:x:{owner}:\n")
    for name in ("spool", "log"):
        (folder / name).mkdir()
    if owner == NOBODY:
        for one in (folder, folder / "spool", folder / "log"):
            os.chown(one, owner, owner)
    command = [str(root / "usr/sbin/exim4"), "-C", str(folder / "exim.conf"), "-bdf", "-oX", f"127.0.0.1.{port}"]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=_environment(root, folder))
    try:
        _wait(process, port, folder / "said")
        yield Exim(port, folder)
    finally:
        process.terminate()
        process.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def fetched() -> Path:
    """Return the folder into which Exim is unpacked."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NoEximError("Exim comes from Debian's packages: apt-get and dpkg are not on the PATH")
    cache = Path(os.environ.get("DUNWELL_CACHE") or Path.home() / ".cache" / "dunwell")
    target = cache / "exim"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "exim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _fetch(target)
    return target


def _fetch(target: Path) -> None:
    """Unpack beside the target, then rename: a fetch that dies half-way leaves no half-full target."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as folder:
        got = _run(["apt-get", "download", *PACKAGES], folder)
        if got.returncode and os.getuid() == 0:
            _run(["apt-get", "update"], folder)
            got = _run(["apt-get", "download", *PACKAGES], folder)
        if got.returncode:
            raise NoEximError(f"apt-get could not download it: {got.stderr[-300:]}")
        for package in Path(folder).glob("*.deb"):
            _run(["dpkg", "-x", str(package), "root"], folder)
        unpacked = Path(folder) / "root"
        (unpacked / "usr/sbin/exim4").chmod(0o755)  # a set-uid program ignores the wrapper in its environment
        unpacked.rename(target)


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=FETCH_WITHIN_S)


def _environment(root: Path, folder: Path) -> dict[str, str]:
    wrapper = next(root.glob("usr/lib/**/libnss_wrapper.so"))
    return {
        "PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(wrapper.parent), "LD_PRELOAD": str(wrapper),
        "NSS_WRAPPER_PASSWD": str(folder / "passwd"), "NSS_WRAPPER_GROUP": str(folder / "group"),
    }  # fmt: skip


def _wait(process: subprocess.Popen[bytes], port: int, said: Path) -> None:
    end = time.monotonic() + START_WITHIN_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise NoEximError(f"it ended with {process.returncode}: {said.read_text()[-500:]}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as made:
                if made.recv(3) == b"220":
                    return
        except OSError:
            time.sleep(0.05)
    raise NoEximError(f"it does not answer: {said.read_text()[-500:]}")


def _mail(head: Path) -> tuple[str, EmailMessage]:
    """Return a mail from the spool: recipients follow a line with their number, each header follows its length and a flag."""
    envelope, _, headers = head.read_bytes().partition(b"\n\n")
    lines = envelope.split(b"\n")
    to = lines[-1].decode()
    plain = b""
    while headers:
        length, kept = int(headers[:3]), headers[3:4] != b"*"
        text = headers[5 : 5 + length]
        plain += text if kept else b""
        headers = headers[5 + length :]
    body = head.with_name(head.name[:-1] + "D").read_bytes().partition(b"\n")[2]
    return to, message_from_bytes(plain + b"\n" + body, policy=policy.default)
