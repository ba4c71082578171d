from dataclasses import replace

from rich.console import Console

from gpubench.report.table import results_table


def shown(records, width=110):
    console = Console(width=width, record=True, color_system=None, file=None, quiet=False)
    with console.capture() as captured:
        console.print(results_table(records))
    return captured.get()


def test_groups_numbers_and_collapsed_skips(cpu):
    text = shown(cpu[1])
    assert "measured on CPU" in text
    assert "square-gemm" in text
    assert "94.1 GFLOP/s" in text
    assert "0.210x" in text
    assert "8 cases skipped: TF32 is a Tensor Core format" in text
    assert "Of peak" not in text
    assert sum("skipped" in line for line in text.splitlines()) == 3


def test_failures_and_flags_are_in_the_notes(gpu):
    text = shown(gpu[1], 150)
    assert "out of memory: CUDA out of memory" in text
    assert "wrong result" in text
    assert "launch-bound" in text
    assert "measured on CPU" not in text


def test_fits_eighty_columns(cpu):
    assert max(map(len, shown(cpu[1], 80).splitlines())) <= 80


def test_names_are_never_read_as_markup(cpu):
    record = next(r for r in cpu[1] if r.status == "measured")
    record = replace(record, case=replace(record.case, label="[red]x[/red] [/oops]"))
    assert "[red]x[/red] [/oops]" in shown([record])


def test_nothing_is_no_error():
    assert "Case" in shown([])
