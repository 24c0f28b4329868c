"""ONNX test data: folders that hold one TensorProto file an input, `input_0.pb`, `input_1.pb`, ... (onnx/backend/test).

The one place of this package that imports onnx, and only when such a file is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibrators.regular_file import open_regular
from qdq_cli.data.stored import unreadable
from qdq_cli.process.errors import DataError

if TYPE_CHECKING:
    import onnx

_INPUT_FILE = re.compile(r"input_([0-9]+)\.pb")
_HINT = "Write it with onnx.numpy_helper.from_array(array, name).SerializeToString()."


@dataclass(frozen=True)
class StoredTensor:
    """A TensorProto file.

    Attributes:
        source: The file.
        name: The name inside it, may be "".
        shape, dtype: As declared; the elements are read by `whole`.
    """

    source: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def label(self) -> str:
        """How errors call it."""
        return str(self.source)

    def item(self, index: int) -> np.ndarray:
        """Read a[index]. Raises: see `whole`."""
        array: np.ndarray = self.whole()[index]
        return array

    def whole(self) -> np.ndarray:
        """Read the whole tensor.

        Raises:
            DataError: It cannot be read, or its elements are fewer than its shape says.
        """
        from onnx import numpy_helper

        try:
            array: np.ndarray = numpy_helper.to_array(_parse(self.source))
        except (ValueError, TypeError) as error:
            raise unreadable(self.source, error, _HINT) from error
        return array


def is_input_file(name: str) -> bool:
    """Whether a file name is that of an input in the test-data layout."""
    return _INPUT_FILE.fullmatch(name) is not None


def input_number(path: Path) -> int:
    """The position of the input a test-data file is for; 0 for a file of any other name."""
    match = _INPUT_FILE.fullmatch(path.name)
    return int(match[1]) if match else 0


def open_tensor(path: Path) -> StoredTensor:
    """Read name, shape and type of a TensorProto file. The format has no header: the file is read and let go.

    Raises:
        DataError: The file is no TensorProto, or keeps its elements in another file.
    """
    from onnx import TensorProto, helper

    tensor = _parse(path)
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} is no ONNX tensor.", _HINT) from error
    if tensor.data_location == TensorProto.EXTERNAL:
        raise DataError(f"{path} keeps its elements in another file.", "Save it with the data inside.")
    return StoredTensor(path, tensor.name, tuple(tensor.dims), dtype)


def by_input(tensors: Sequence[StoredTensor], names: Sequence[str]) -> dict[str, StoredTensor]:
    """Give each input its tensor: by the names inside the files where they are all inputs, else by the file numbers."""
    if {tensor.name for tensor in tensors} == set(names) and len(tensors) == len(names):
        return {tensor.name: tensor for tensor in tensors}
    numbered = {input_number(tensor.source): tensor for tensor in tensors}
    return {name: numbered[position] for position, name in enumerate(names) if position in numbered}


def _parse(path: Path) -> onnx.TensorProto:
    from google.protobuf.message import DecodeError
    from onnx import TensorProto

    tensor = TensorProto()
    try:
        with open_regular(path) as file:
            tensor.ParseFromString(file.read())
    except OSError as error:
        raise unreadable(path, error) from error
    except DecodeError as error:
        raise DataError(f"{path} is no ONNX tensor.", _HINT) from error
    return tensor
