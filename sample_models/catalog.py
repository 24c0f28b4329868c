"""What lies in this folder: one record per sample model. Imports nothing but the standard library."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

TOP1 = "top1_percent"
PSNR = "psnr_db"


@dataclass(frozen=True)
class SampleModel:
    """One sample model and what belongs to it.

    Attributes:
        name: Name of the model; `NAME.onnx` is the file and `NAME.py` the script that builds it.
        calibration: Folder below `images/` with the calibration images.
        test_set: File below `test/` with the test set, which training and calibration never saw.
        preset: Name of the `--preprocess` preset that the model was trained with.
        metric: `top1_percent` (share of right classes) or `psnr_db` (mean peak signal-to-noise ratio).
        fp32: The metric of the float model on the test set, in the unit that the metric names.
        operators: ONNX operator types that the model is here to show.
    """

    name: str
    calibration: str
    test_set: str
    preset: str
    metric: str
    fp32: float
    operators: tuple[str, ...]

    @property
    def model_path(self) -> Path:
        """The float ONNX model."""
        return FOLDER / f"{self.name}.onnx"

    @property
    def calibration_path(self) -> Path:
        """The folder of calibration images."""
        return FOLDER / "images" / self.calibration

    @property
    def test_path(self) -> Path:
        """The test set, a compressed `.npz` (see `evaluate.py` for its arrays)."""
        return FOLDER / "test" / self.test_set


CATALOG = (
    SampleModel(
        name="digits_resnet",
        calibration="digits",
        test_set="digits.npz",
        preset="unit",
        metric=TOP1,
        fp32=98.83,
        operators=("Conv", "BatchNormalization", "Relu", "MaxPool", "Add", "GlobalAveragePool", "Gemm"),
    ),
    SampleModel(
        name="digits_mobilenetv2",
        calibration="digits",
        test_set="digits.npz",
        preset="unit",
        metric=TOP1,
        fp32=99.5,
        operators=("Conv", "Clip", "Add", "ReduceMean", "Gemm"),
    ),
    SampleModel(
        name="digits_vit",
        calibration="digits",
        test_set="digits.npz",
        preset="unit",
        metric=TOP1,
        fp32=98.33,
        operators=("Conv", "MatMul", "LayerNormalization", "Softmax", "Erf", "Concat", "Gemm"),
    ),
    SampleModel(
        name="digits_gru",
        calibration="digits",
        test_set="digits.npz",
        preset="unit",
        metric=TOP1,
        fp32=97.67,
        operators=("GRU", "MatMul", "Gemm", "Relu"),
    ),
    SampleModel(
        name="denoise_unet",
        calibration="noisy_patches",
        test_set="noisy_patches.npz",
        preset="unit",
        metric=PSNR,
        fp32=28.98,
        operators=("Conv", "Sigmoid", "Mul", "Resize", "Concat", "Sub"),
    ),
    SampleModel(
        name="superres_fsrcnn",
        calibration="small_patches",
        test_set="small_patches.npz",
        preset="unit",
        metric=PSNR,
        fp32=32.73,
        operators=("Conv", "BatchNormalization", "PRelu", "ConvTranspose", "Relu", "Resize", "Add"),
    ),
)


def find(name: str) -> SampleModel:
    """Return the record called `name`.

    Raises:
        KeyError: The catalog has no such model; the message lists those it has.
    """
    for model in CATALOG:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in CATALOG)
    raise KeyError(f"There is no sample model '{name}'; there are: {names}.")
