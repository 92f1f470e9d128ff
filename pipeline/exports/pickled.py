"""Read a pickled NumPy array without running code: nothing that the pickle names is imported or called."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from pipeline.exports.claims import BadArray, check_features

_PICKLED = {  # the names in a pickled array, in NumPy 1 and 2
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # for bytes, in the protocols that Python 2 reads
}
_TYPES = ("f2", "f4", "f8")
# No dicts, sets or objects: hashing a tuple that contains itself many times over can take years.
_OPCODES = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.STACK_GLOBAL),
    *(pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.GET, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2),
    *(pickle.LONG, pickle.LONG1, pickle.LONG4, pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING),
    *(pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
)


class _Name(NamedTuple):
    """A name in a pickle."""

    module: str
    name: str


@dataclass(eq=False)
class _Call:
    """A call that a pickle would make, and the state that it would set afterwards."""

    function: Any
    arguments: Any
    state: Any = None


class _Recorder(pickle._Unpickler):
    """Records the calls of a pickle instead of making them."""

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise BadArray(f"holds {module}.{name}; only NumPy arrays are accepted")
        return _Name(module, name)

    def load_other(self) -> None:
        raise BadArray("holds more than an array of numbers; only NumPy arrays are accepted")

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = _Call(self.stack[-1], arguments)

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Call):
            self.load_other()
        self.stack[-1].state = state

    dispatch: ClassVar[dict[int, Any]] = {
        **dict.fromkeys(pickle._Unpickler.dispatch, load_other),
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _OPCODES},
        # The original allocates the claimed size first, and then reads.
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
    }


def array_of_pickle(content: bytes, *, most_axes: int = 2) -> np.ndarray:
    """Return a pickled floating-point array [T, C], written by NumPy 1 or 2 and Python 2 or 3.

    Args:
        most_axes: of the array, if it may have more.

    Raises:
        BadArray: the pickle holds anything else, or values are missing.
        Exception: the pickle is damaged.
    """
    made = _Recorder(io.BytesIO(content), encoding="latin1").load()
    shape, dtype, in_columns, values = _parts_of(made)
    wanted = check_features(shape, dtype, most_axes=most_axes)
    if len(values) != wanted:
        raise BadArray(f"claims an array of {wanted} bytes and holds {len(values)}")
    return np.frombuffer(values, dtype=dtype).reshape(shape, order="F" if in_columns else "C")


def _parts_of(made: Any) -> tuple[Any, np.dtype, bool, Any]:
    """Return shape, dtype, whether the order is by columns, and values of the array that the calls would make."""
    if not isinstance(made, _Call):
        raise BadArray(f"must be an array of two axes, T and C; it is {type(made).__name__}")
    name = made.function.name if isinstance(made.function, _Name) else ""
    if name == "_reconstruct" and isinstance(made.state, tuple) and len(made.state) == 5:
        _, shape, dtype, in_columns, values = made.state
    elif name == "_frombuffer" and made.state is None and len(made.arguments) == 4:
        values, dtype, shape, order = made.arguments
        in_columns = order == "F"
    else:
        raise BadArray("must be an array with its values")
    if isinstance(values, _Call) and values.function == ("_codecs", "encode"):
        values = values.arguments[0]
    if isinstance(values, str):  # bytes of Python 2
        values = values.encode("latin1")
    if not isinstance(values, (bytes, bytearray)):
        raise BadArray(f"must be an array of numbers, it holds {type(values).__name__}")
    return shape, _type_of(dtype), bool(in_columns), values


def _type_of(made: Any) -> np.dtype:
    """Return the floating-point dtype that the calls would make."""
    if not isinstance(made, _Call) or made.function != ("numpy", "dtype") or not made.arguments:
        raise BadArray("must be of floating-point numbers")
    name, order = made.arguments[0], (made.state or (3, "="))[1]
    if name not in _TYPES or order not in ("<", ">", "=", "|"):
        raise BadArray(f"must be of floating-point numbers, it is of {name if isinstance(name, str) else 'others'}")
    return np.dtype(name).newbyteorder(order)
