from gpubench.analysis.naming import case_names, params_text


def test_names_say_what_varies_and_cubes_once(build):
    records = [
        build.measured("a", m=8, n=8, k=8, batch=1, transpose="nn"),
        build.measured("b", m=16, n=16, k=16, batch=1, transpose="nn"),
        build.measured("c", m=16, n=4, k=16, batch=1, transpose="nn"),
    ]
    names = case_names(records)
    assert names == {"a": "m=n=k=8", "b": "m=n=k=16", "c": "m=16 n=4 k=16"}


def test_names_tell_cases_of_one_shape_apart(build):
    records = [
        build.measured("a", m=8, n=8, k=8, transpose="nn"),
        build.measured("b", m=8, n=8, k=8, transpose="tn"),
    ]
    assert case_names(records) == {"a": "transpose=nn", "b": "transpose=tn"}


def test_a_lone_case_keeps_its_parameters(build):
    assert case_names([build.measured("a", rows=4, causal=True)]) == {"a": "rows=4 causal=yes"}


def test_params_text_of_floats_and_nothing():
    assert params_text({"p": 0.123456}) == "p=0.1235"
    assert params_text({}) == ""
