"""Other people's programs, measured beside ours in a separate virtual environment: they need other versions than we do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

LOCK = Path(__file__).with_name("peers.lock")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dunwell"
INSTALLED_WITHIN_S = 600


def python(*, installs: bool) -> tuple[str | None, str | None]:
    """Return the Python that has them, installed on first use if wanted; or None, and why they are not measured."""
    folder = _CACHE / f"peers-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}-{sys.version_info[0]}.{sys.version_info[1]}"
    program, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        if not installs:
            return None, "  NOT MEASURED: pgqueuer and Tryton are not installed here, and this run does not"
        venv.create(folder, clear=True, with_pip=True)
        command = [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(LOCK)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALLED_WITHIN_S)
        if done.returncode:
            return None, f"  NOT MEASURED: pgqueuer and Tryton cannot be installed here: {done.stderr.strip().splitlines()[-1:]}"
        ready.touch()
    return str(program), None
