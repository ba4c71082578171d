from gpubench.errors import InputError, UnknownName, nearest


def test_message_names_place_key_expectation_and_near_miss() -> None:
    error = InputError(
        "unknown key 'matriks'", file="a.yaml", line=7, key="benchmarks[0].matriks",
        expected="matrix", nearest="matrix",
    )  # fmt: skip
    assert str(error) == (
        "a.yaml:7: benchmarks[0].matriks: unknown key 'matriks'; expected matrix;"
        " did you mean 'matrix'?"
    )


def test_places_are_filled_in_once() -> None:
    error = InputError("x", line=3).at(file="f", line=9, key="k")
    assert (error.file, error.line, error.key) == ("f", 3, "k")


def test_unknown_name_lists_what_there_is() -> None:
    error = UnknownName("workload", "gem", ["gemm", "conv2d"])
    assert error.nearest == "gemm"
    assert "conv2d, gemm" in str(error)


def test_nothing_close_is_not_suggested() -> None:
    assert nearest("zzzz", ["gemm", "conv2d"]) is None
    assert nearest("GEMM", ["gemm"]) == "gemm"
