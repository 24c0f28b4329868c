"""Every command of the program, by the words that call it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

COMMANDS = {
    "quantize": "Quantize an FP32 ONNX model to INT8 with Q/DQ nodes.",
    "calibrate": "Observe a model's tensors on samples and write the calibration cache.",
    "convert": "Make an FP32 model FP16 or BF16 as far as its values allow.",
    "cache": "Look into calibration caches, compare, merge and convert them.",
    "tune": "Quantize a model and leave operators float until it meets a target.",
    "sensitivity": "Rank operators and scale groups by what they cost the outputs when quantized alone.",
    "inspect": "Say what TensorRT will do with a Q/DQ model, without TensorRT.",
    "build": "Build a model with NVIDIA's compiler, on a CPU, and lay it beside the prediction.",
    "compare": "Compare a model with its quantized form, output by output or layer by layer.",
    "fix": "Repair what TensorRT refuses or cannot fuse in a Q/DQ model.",
    "migrate": "Write a model for TensorRT 11 from what an older build was made of.",
    "init": "Write the settings of a model down: its data, preprocessing, options and limits.",
    "completion": "Print the script that completes commands and options in a shell.",
    "explain": "Say what a rule, a finding, a reason or an exit code means and what to do.",
}
"""Name of each sub-command (a module of `qdq_cli.commands`) and its line in `qdq --help`."""


def command_named(name: str) -> click.Command:
    """Import a command."""
    command = getattr(importlib.import_module(f"qdq_cli.commands.{name}"), name)
    assert isinstance(command, click.Command)
    return command


def every_command() -> dict[str, click.Command]:
    """Return the commands that do something, each under its words such as "cache export"."""
    return {words: command for name in COMMANDS for words, command in _below(name, command_named(name))}


def _below(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, member in command.commands.items():
            yield from _below(f"{words} {name}", member)
    else:
        yield words, command
