import pandas as pd

from gpubench.analysis import frame as f
from gpubench.record import Failure, Peaks, Skip


def test_one_row_a_record_with_everything_derived(build):
    peaks = Peaks(4000.0, None, "datasheet")
    records = [
        build.measured("base", times=(2.0,) * 10),
        build.measured("fast", precision="bf16", baseline="base", peaks=peaks, flags=("noisy",)),
        build.record(Skip("needs Ada"), "skip"),
        build.record(Failure("timeout", "120 s"), "fail"),
    ]
    table = f.frame([(build.run(label="L"), records)])
    assert list(table[f.KEY]) == ["base", "fast", "skip", "fail"]
    assert list(table[f.STATUS]) == ["measured", "measured", "skipped", "failed"]
    fast = table.iloc[1]
    assert fast[f.SPEEDUP] == 2.0
    assert fast[f.SHARE_OF_PEAK] == 0.5
    assert fast[f.FLOPS_PER_S] == 2000.0
    assert fast[f.INTENSITY] == 20.0
    assert fast[f.FLAGS] == "noisy"
    assert fast[f.PROVENANCE] == "measured on CPU"
    assert fast[f.RUN_LABEL] == "L"
    assert table.iloc[3][f.FAILURE_KIND] == "timeout"
    assert table.iloc[2][f.REASON] == "needs Ada"


def test_absent_is_missing_never_zero(build):
    row = f.frame([(build.run(), [build.record(Skip("no"))])]).iloc[0]
    for name in (f.TIME, f.FLOPS_PER_S, f.SPEEDUP, f.SAMPLES, f.REL_ERROR, f.RUN_LABEL):
        assert pd.isna(row[name]), name


def test_columns_and_types_do_not_depend_on_the_data(build):
    some = f.frame([(build.run(), [build.measured()])])
    none = f.frame([(build.run(), [])])
    fixed = list(f.COLUMNS)
    assert list(some.columns[: len(fixed)]) == fixed == list(none.columns)
    assert (some.dtypes[fixed] == none.dtypes[fixed]).all()


def test_params_of_mixed_types_become_text_and_survive_parquet(build, tmp_path):
    records = [
        build.measured("a", algorithm=3, size=8, causal=True),
        build.measured("b", algorithm="auto", size=16),
    ]
    table = f.frame([(build.run(), records)])
    assert list(table["param.algorithm"]) == ["3", "auto"]
    assert table["param.size"].dtype == "Int64"
    assert pd.isna(table["param.causal"].iloc[1])
    table.to_parquet(tmp_path / "x.parquet")
    back = pd.read_parquet(tmp_path / "x.parquet")
    assert list(back["param.algorithm"]) == ["3", "auto"]
