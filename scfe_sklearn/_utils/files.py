"""Write files safely, and read the archives of skops with a limit on their size."""

from __future__ import annotations

import contextlib
import copy
import errno
import hashlib
import io
import json
import os
import secrets
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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


# -------------------------------------------------------------------------------------- archives


MAX_SIZE = 2**30
"""Most bytes that a file may unpack to by default: 1 GiB."""

_CHUNK = 1 << 20
_PER_VALUE = 128  # bytes of memory of a value of JSON, about
_NESTED = b"PK"  # how zip archives begin, such as the sparse matrices within an archive


class TooLargeError(ValueError):
    """Raised if a file would take more memory than the limit."""


def read_bounded(path: str | os.PathLike[str], max_size: int) -> bytes:
    """Read a file; raise TooLargeError if it is larger than ``max_size`` bytes."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > max_size:
            raise TooLargeError
        return file.read()


def check_archive(content: bytes, max_size: int, skipped: str = "") -> str:
    """Raise if an archive of skops would unpack to more than ``max_size`` bytes.

    Sizes are summed over all members and over every place that refers to one. Claimed sizes are
    compared with what is there, piece by piece, and nothing larger than the limit is kept.

    Parameters
    ----------
    content : bytes
        The archive.
    max_size : int
        The limit.
    skipped : str
        Name of a member that the digest leaves out.

    Returns
    -------
    str
        Digest of the names and bytes of the other members.

    Raises
    ------
    TooLargeError
        If it would.
    ValueError, zipfile.BadZipFile and others
        If the archive is damaged.
    """
    digest, sizes = hashlib.sha256(), {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        left = max_size - _total(archive)
        if left < 0:
            raise TooLargeError
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            known = digest.copy()
            digest.update(
                f"{len(info.filename.encode())}:{info.filename}:{info.file_size}:".encode()
            )
            sizes[info.filename] = info.file_size + _read(archive, info, digest, left)
            left -= sizes[info.filename] - info.file_size
            digest = known if info.filename == skipped else digest
        schema = archive.read("schema.json")
    left -= _PER_VALUE * sum(schema.count(sign) for sign in (b",", b"[", b"{"))
    if left < 0:
        raise TooLargeError
    if sum(sizes.get(name, 0) for name in _references(json.loads(schema))) > max_size:
        raise TooLargeError
    return digest.hexdigest()


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, digest: Any, left: int) -> int:
    """Read a member; return what an archive within it unpacks to, 0 if it is none."""
    kept: list[bytes] = []
    for number, part in enumerate(_parts(archive, info)):
        digest.update(part)
        if kept or (number == 0 and part.startswith(_NESTED)):
            kept.append(part)
    inner = io.BytesIO(b"".join(kept))
    if not kept or not zipfile.is_zipfile(inner):
        return 0
    with zipfile.ZipFile(inner) as nested:
        size = _total(nested)
        if size > left:
            raise TooLargeError
        for part_of in nested.infolist():
            for _ in _parts(nested, part_of):
                pass
    return size


def _parts(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Give a member of an archive piece by piece.

    Raises
    ------
    ValueError
        If its size is not the one that the archive gives.
    """
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("A member of the archive must be stored or deflated.")
    # By itself, zipfile stops at the claimed size, and unpacks the rest in vain.
    honest = copy.copy(info)
    honest.file_size = info.file_size + 1
    size = 0
    with archive.open(honest) as file:
        while part := file.read(_CHUNK):
            size += len(part)
            if size > info.file_size:
                break
            yield part
    if size != info.file_size:
        raise ValueError("A member of the archive must have the size that the archive gives.")


def _total(archive: zipfile.ZipFile) -> int:
    return sum(info.file_size for info in archive.infolist())


def _references(schema: Any) -> Iterator[str]:
    """Give the names of members in a schema, as often as it refers to them."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            name = node.get("file")
            if isinstance(name, str):
                yield name
            waiting += [part for part in node.values() if isinstance(part, (dict, list))]
        elif isinstance(node, list):
            waiting += [part for part in node if isinstance(part, (dict, list))]
