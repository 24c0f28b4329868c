"""Stands for the compiler's package of libraries in tests; `FAKE_COMPILER=unloadable` lets it fail to load."""

import os

if os.environ.get("FAKE_COMPILER") == "unloadable":
    raise ImportError("libsomething.so.1: no such file")
