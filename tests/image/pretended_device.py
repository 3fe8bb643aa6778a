"""A device that is none: its tensors are computed on the processor, and must not meet others.

A tensor of it says that it is on "meta", of which torch needs no hardware, but holds values.
Mixing it with tensors of the processor fails as it would on an accelerator, and what makes a host
wait for its device is counted.
"""

from pathlib import Path
from traceback import walk_stack

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

AWAY = torch.device("meta")
PACKAGE = "scfe_sklearn"
WAITS = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "is_nonzero", "_unique2")


class Away(torch.Tensor):
    """A tensor of the pretended device."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), dtype=values.dtype, device=AWAY,
            requires_grad=values.requires_grad,
        )  # fmt: skip

    def __init__(self, values):
        self.values = values

    def __repr__(self):
        return f"Away({self.values})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {}, [])


def run(func, args, kwargs, waits):
    """Run one operation of torch as a device would."""
    name = func.overloadpacket.__name__
    away, here = [], []

    def look(value):
        if isinstance(value, torch.Tensor):
            (away if isinstance(value, Away) else here).append(value)
        return value

    tree_map(look, (args, kwargs))
    asked = kwargs.get("device")
    target = asked or (AWAY if away else torch.device("cpu"))
    moves = name in ("_to_copy", "copy_")
    if away and not moves and any(value.ndim for value in here):
        # As on accelerators, indices may come from the processor.
        if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
            raise RuntimeError(f"{name}: tensors on the processor and on a device")
        waits.append(name + " from the processor")
    if (away and torch.device(target).type == "cpu") or (away and name in WAITS):
        waits.append(name)
    if away and name in ("index", "index_put", "index_put_") and any(
        part is not None and part.dtype == torch.bool for part in args[1]
    ):  # fmt: skip
        waits.append(name + " by a mask")
    if moves and here and torch.device(target).type == "meta":
        waits.append("to the device")
    plain = tree_map(lambda v: v.values if isinstance(v, Away) else v, (args, kwargs))
    if plain[1].get("device") is not None:
        plain[1]["device"] = torch.device("cpu")
    out = func(*plain[0], **plain[1])
    if name.endswith("_") and not name.startswith("_") and isinstance(args[0], Away):
        return args[0]
    if torch.device(target).type == "cpu":
        return out
    return tree_map(lambda v: Away(v) if isinstance(v, torch.Tensor) else v, out)


class _Numbers(TorchFunctionMode):
    """``torch.tensor`` and its like make tensors on the processor and move them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], torch.Tensor):
            device = kwargs.pop("device", None)
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        return func(*args, **kwargs)


class PretendedDevice(TorchDispatchMode):
    """Tensors made for the pretended device are of it.

    ``waits`` has the operation and the line of the package of each wait for the device.
    """

    def __init__(self, double=True):
        super().__init__()
        self.waits, self.double = [], double
        self._numbers = _Numbers()

    def __enter__(self):
        self._numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._numbers.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = []
        out = run(func, args, kwargs or {}, found)
        if not self.double and isinstance(out, Away) and out.dtype == torch.float64:
            raise TypeError("the device has no double precision")
        self.waits += [(wait, _line()) for wait in found]
        return out


def _line():
    for frame, line in walk_stack(None):
        path = Path(frame.f_code.co_filename)
        if PACKAGE in path.parts:
            return f"{path.name}:{line}"
    return "elsewhere"
