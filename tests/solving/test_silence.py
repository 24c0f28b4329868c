"""What native code prints stays away from the result."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.workspace import environment

NOISY = """
import ctypes, os
from qdq_cli.solving.silence import native_output_hidden
library = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
print("before", flush=True)
with native_output_hidden():
    library.puts(b"hidden")
print("after")
library.puts(b"native")
"""


@pytest.mark.parametrize("closing", ["", "import os; os.close(1); os.open(os.devnull, os.O_WRONLY)\n"])
def test_only_the_block_is_silent(closing: str):
    done = subprocess.run(
        [sys.executable, "-c", closing + NOISY], env=environment(), capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split()) == ([] if closing else ["after", "before", "native"])


def test_without_any_output_there_is_nothing_to_hide():
    code = "import os; os.close(1)\nfrom qdq_cli.solving.silence import native_output_hidden\n"
    code += "with native_output_hidden():\n    pass\nos.open(os.devnull, os.O_WRONLY)\n"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
