import pytest

from gpubench.errors import InputError
from gpubench.expression import MissingName, compile_expression, compile_filter, names_of
from tests.builders import A100, CPU, gemm_case

NAMES = names_of(gemm_case("bf16", 1024), A100)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("precision == 'bf16'", True),
        ("m >= 1024 and n < 4096", True),
        ("not (m == 1024)", False),
        ("precision in ['fp32', 'bf16']", True),
        ("512 < m <= 1024", True),
        ("m * n * k > 10 ** 9", None),
        ("device.type == 'cuda' and device.compute_capability >= 8.0", True),
        ("m % 8 == 0 or k % 8 == 0", True),
        ("-m < 0", True),
        ("2 * m // 3 == 682", True),
    ],
)
def test_conditions(text: str, value: bool | None) -> None:
    if value is None:
        with pytest.raises(InputError, match="not allowed"):
            compile_expression(text)
    else:
        assert bool(compile_expression(text)(NAMES)) is value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')", "m.__class__", "device.type.upper()", "[x for x in 'a']",
        "lambda: 1", "(m := 3)", "f'{m}'", "m is 3", "precision ==", "", "m if n else k",
        "device.type()", "b'x' == m", "1j", "(" * 500, "x" + "+1" * 100_000, "\0",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        compile_expression(text)(NAMES)


def test_unknown_names_have_a_near_miss() -> None:
    with pytest.raises(MissingName) as caught:
        compile_expression("precison == 'fp32'")(NAMES)
    assert caught.value.nearest == "precision"


def test_wrong_types_are_told_not_raised_raw() -> None:
    with pytest.raises(InputError, match="cannot use"):
        compile_expression("precision > 3")(NAMES)
    with pytest.raises(InputError, match="cannot use"):
        compile_expression("m / 0 > 1")(NAMES)


@pytest.mark.parametrize(
    "text", ["'a' * 10000000000", "'%9999999999d' % m", "[1] * 10000000000", "precision + 'x'"]
)
def test_arithmetic_is_of_numbers_alone(text: str) -> None:
    with pytest.raises(InputError, match="only numbers"):
        compile_expression(text)(NAMES)


def test_absent_facts_order_with_nothing() -> None:
    names = names_of(gemm_case(), CPU)
    assert compile_expression("device.compute_capability >= 8.0")(names) is False
    assert compile_expression("device.compute_capability == None")(names) is True


def test_filter_by_glob_and_by_condition() -> None:
    case = gemm_case("bf16", 1024)
    assert compile_filter("squ*")(case, NAMES)
    assert compile_filter("1024x1024*")(case, NAMES)
    assert not compile_filter("skinny")(case, NAMES)
    assert compile_filter("m > 512 and precision == 'bf16'")(case, NAMES)
    # A parameter of another workload makes a condition false, not an error.
    assert not compile_filter("kernel_size == 3")(case, NAMES)
