"""Write files so that a failure leaves the old file as it was."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

__all__ = ["write_file"]


def write_file(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file beside its place, then rename it into its place.

    A full disk, an interruption or a missing permission leaves the old file unchanged and no
    other file behind. A symbolic link stays, and the file that it names is replaced. An existing
    file keeps its permissions. Pipes and devices are written directly.

    Parameters
    ----------
    path : str or path-like
        The file.
    content : str or bytes
        Text is encoded as UTF-8, without a change of its line ends.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as file:
            file.write(data)
        return
    target = os.path.realpath(path)
    if mode is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    partial = Path(target).with_name(f".{secrets.token_hex(8)}.part")  # short, and never the user's
    try:
        _write_new(partial, data)
        if mode is not None:
            os.chmod(partial, stat.S_IMODE(mode))
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist, to the disk; its permissions follow the umask."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
