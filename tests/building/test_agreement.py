"""Which kernel computes an operator, in which type, and which kernels only convert: every rule on kernels made here."""

from __future__ import annotations

import pytest

from qdq_cli.building.agreement import computed_type, conversions_of, homes_of, share_of_codes, traffic_of, types_of
from qdq_cli.building.record import Kernel, KernelTensor, Operator


def tensor(name: str, kind: str, *dims: int) -> KernelTensor:
    return KernelTensor(name, kind, dims or (1, 16, 8, 8), 64)


def kernel(kind: str, reads: str = "", weights: str = "", writes: str = "", nodes: str = "", feed: str = "") -> Kernel:
    """A kernel from types in words: "INT8 FP32"; `feed` names what its first input is."""
    name = f"{kind}:{nodes.replace(' ', '+')}"
    parts = [
        tuple(tensor(f"{name}.{letter}{place}", word) for place, word in enumerate(words.split()))
        for letter, words in (("r", reads), ("c", weights), ("w", writes))
    ]
    if feed:
        parts[0] = (tensor(feed, reads.split(maxsplit=1)[0]), *parts[0][1:])
    return Kernel(name, kind, parts[0], parts[1], parts[2], tuple(nodes.split()))


@pytest.mark.parametrize(
    ("reads", "weights", "expected"),
    [
        ("INT8", "INT8 FP32", "INT8"),
        ("INT8 INT8", "", "INT8"),
        ("INT8 FP32", "INT8", "INT8"),
        ("FP8", "FP8 FP32", "FP8"),
        ("FP16", "FP16", "FP16"),
        ("BF16", "BF16", "BF16"),
        ("FP32 INT8", "FP32", "FP32"),
        ("FP16", "INT8 FP16", "FP16"),
        ("FP16 FP32", "FP16", "FP32"),
    ],
    ids=[
        *("data and weight", "two activations", "float residual", "fp8", "fp16", "bf16"),
        *("int8 residual", "weight only", "wider"),
    ],
)
def test_the_type_a_product_computes_in(reads: str, weights: str, expected: str):
    assert computed_type(kernel("gemm", reads, weights, "FP32", "mm"), None) == expected


def test_a_kernel_that_quantizes_the_data_itself():
    fused = kernel("kgen", "FP32", "INT8 FP32", "FP32", "conv q")
    assert computed_type(fused, "q") == "INT8"
    assert computed_type(fused, "another") == "FP32"


def test_a_factor_is_no_operand():
    product = kernel("gemm", "INT8", "", "FP32", "mm")
    with_factor = Kernel(product.name, "gemm", product.reads, (tensor("alpha", "INT8", 1),), product.writes, ("mm",))
    assert computed_type(with_factor, None) == "INT8"  # the only type it reads
    assert computed_type(kernel("gemm", "FP32 INT8", "", "FP32", "mm"), None) == "FP32"


def test_the_kernel_of_an_operator_is_the_one_that_forms_products():
    before, product, behind = (
        kernel("kgen", nodes="conv q"),
        kernel("correlation", nodes="conv"),
        kernel("kgen", nodes="conv"),
    )
    other = kernel("gemm", nodes="mm conv")
    assert homes_of([before, product, behind, other])["conv"] is product
    assert homes_of([before, behind])["q"] is before


OPERATORS = {"q": "QuantizeLinear", "dq": "DequantizeLinear", "conv": "Conv", "relu": "Relu"}


def test_a_kernel_that_quantizes_and_does_nothing_else():
    """The compiler names the product behind a Q too; the kernel behind a product finishes its result."""
    at_input = kernel("kgen", "FP32", "", "INT8", "q conv")
    product = kernel("correlation", "INT8", "INT8", "FP32", "conv dq")
    epilogue = kernel("kgen", "FP32", "", "INT8", "conv q", feed="correlation:conv+dq.w0")
    with_work = kernel("kgen", "FP32", "", "INT8", "relu q")
    no_change = kernel("kgen", "FP32", "", "FP32", "q dq")
    found = conversions_of([at_input, product, epilogue, with_work, no_change], OPERATORS)
    assert found == (at_input.name,)


def test_kernels_are_counted_by_what_they_read_and_write():
    products = [kernel("gemm", "INT8 INT8", "", "FP32"), kernel("gemm", "INT8", "", "FP32")]
    kernels = [*products, kernel("kgen", "FP32 INT8", "", "FP32"), kernel("wait")]
    assert types_of(kernels) == {"INT8 -> FP32": 2, "FP32/INT8 -> FP32": 1}


def test_traffic_is_added_up_by_type_and_what_is_not_known_is_counted():
    unknown = Kernel("k", "kgen", (KernelTensor("t", "FP32", (-1,), None),), (), (), ())
    traffic = traffic_of([kernel("gemm", "INT8", "INT8 FP32", "FP32"), kernel("kgen", "FP32", "", "INT8"), unknown])
    assert traffic.activations == {"INT8": 128, "FP32": 128}
    assert (traffic.activation_bytes, traffic.weight_bytes, traffic.total_bytes, traffic.unknown) == (256, 128, 384, 1)


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (("FP8", "FP8", "FP16"), ("FP8", 75.0)),
        (("INT8", "FP8", "INT8"), ("INT8", 75.0)),
        (("FP16", "FP16", "FP32"), ("INT8", 0.0)),
    ],
)
def test_the_share_of_codes_is_that_of_the_type_with_most_work(built: tuple[str, ...], expected: tuple[str, float]):
    works = zip(built, (2, 1, 1), strict=True)
    operators = [Operator("", "Conv", macs, "", kind, None, (), "") for kind, macs in works]
    assert share_of_codes(operators) == expected
