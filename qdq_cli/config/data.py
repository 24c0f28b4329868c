"""Where calibration samples come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.config.fields import Interval, option
from qdq_cli.config.preprocess import Overrides

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
ARRAY_ENDINGS = (".npy", ".npz")
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
LIST_ENDINGS = (".txt", ".lst", ".list", ".csv", ".tsv")
ROW_ENDINGS = (".parquet", ".arrow")
SAMPLE_ENDINGS = (*PICTURE_ENDINGS, *ARRAY_ENDINGS, *ARCHIVE_ENDINGS, *LIST_ENDINGS, *ROW_ENDINGS)
"""How files are called, in lower case, that hold samples or name them."""


@dataclass(frozen=True, eq=False)
class Given:
    """Calibration samples that a program hands over instead of naming files.

    Args:
        samples: An array, arrays by name, a sequence or an iterable of either, or a function that makes an iterable
            anew each time it is called (`qdq_cli.data.given`).
        name: What sentences call them.
    """

    samples: object
    name: str = "calib"


@dataclass(frozen=True)
class DataConfig(Checked):
    """Where calibration samples come from, how they become model inputs, and what runs them.

    Args:
        calib: Folders, files, archives, lists or patterns, in order; empty where a cache or manual ranges serve.
        preprocess: Name of a preset or path of a JSON/TOML file; None lets the model's input decide.
        overrides: Single fields on top of it.
        input_shape: `NAME:1x3x224x224` for dynamic inputs.
        samples: How many samples to calibrate on; None: all up to 512, less those held back for verification.
        batch_size: Samples a run; None: what the model fixes, else 1.
        seed: Choose the samples at random with this seed instead of evenly spread.
        strict: Refuse data that looks unfit instead of warning of it.
        include_data, exclude_data: Globs of the files of folders to take, and to leave out.
        given: Samples in memory, behind those of `calib`.
        execution: What runs the models they are fed to.
    """

    calib: tuple[Path, ...] = option(
        (),
        "Calibration data: a folder of images or of .npy/.npz, such files, one .npz with an array for each input, a "
        "zip or tar archive, a list of paths (.txt, .csv), a pattern ('images/*.jpg'), module:function, a data set of "
        "Hugging Face (.parquet, or a folder), a folder in the ONNX test-data layout. INPUT=PATH or INPUT=NUMBER is "
        "for one of several inputs. Repeatable.",
        metavar="PATH",
    )
    preprocess: str | None = option(
        None,
        "How pictures become inputs: imagenet, unit (0..1), signed (-1..1), raw (0..255), yolov8, yolox, clip and "
        "others of exporters, or a JSON/TOML file, preprocessor_config.json too. [default: that of a known exporter, "
        "else imagenet for three channels, unit for one]",
        metavar="NAME|FILE",
    )
    overrides: Overrides = field(default_factory=Overrides)
    input_shape: tuple[str, ...] = option(
        (), "Shape of a dynamic input, such as images:1x3x640x640. Repeatable.", metavar="NAME:DxDxD"
    )
    samples: int | None = option(
        None, "Samples to calibrate on. [default: all, up to 512]", metavar="N", rule=Interval(least=1)
    )
    batch_size: int | None = option(
        None, "Samples a run. [default: what the model fixes, else 1]", metavar="N", rule=Interval(least=1)
    )
    seed: int | None = option(
        None, "Choose samples at random with this seed. [default: evenly spread]", metavar="N", rule=Interval(least=0)
    )
    strict: bool = option(False, "Refuse calibration data that looks unfit (exit 4) instead of warning of it.")
    include_data: tuple[str, ...] = option(
        (), "Take these files of a folder alone ('*.jpg', 'left/*'). Repeatable.", metavar="GLOB"
    )
    exclude_data: tuple[str, ...] = option(
        (), "Leave these files of a folder out ('labels'). Repeatable.", metavar="GLOB"
    )
    given: Given | None = None
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    @property
    def has_samples(self) -> bool:
        """Whether there is calibration data at all."""
        return bool(self.calib) or self.given is not None
