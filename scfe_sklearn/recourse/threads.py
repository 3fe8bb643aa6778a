"""Number of threads of torch while rows are answered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import threadpoolctl
import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch on one thread: the tensors are small, and waiting threads cost more.

    ``torch.set_num_threads`` also sets the number for threads that start later. So the OpenMP
    library of torch is set instead, whose number belongs to the calling thread only.
    """
    threads = torch.get_num_threads()  # torch sets the library in its first call
    library = _openmp() if threads > 1 else None
    if library is None:
        yield
        return
    library.set_num_threads(1)
    try:
        yield
    finally:
        library.set_num_threads(threads)


@cache
def _openmp() -> Any:
    """Return the OpenMP library that torch computes with, None if there is none."""
    threads = torch.get_num_threads()
    for library in threadpoolctl.ThreadpoolController().select(user_api="openmp").lib_controllers:
        before = library.get_num_threads()
        library.set_num_threads(threads + 1)
        found = torch.get_num_threads() == threads + 1
        library.set_num_threads(before)
        if found:
            return library
    return None
