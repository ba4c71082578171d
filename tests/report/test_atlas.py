from gpubench.report.render import text
from tests.report.fake_engines import engine_run


def test_the_atlas_is_in_html_and_markdown() -> None:
    page, plain = (text([engine_run()], fmt) for fmt in ("html", "markdown"))
    assert 'id="engines"' in page
    assert "Engines by layer" in page
    for head in ("Fastest plan", "Regret, no workspace", "Could not run"):
        assert head in page
        assert head in plain
    assert "median regret is" in plain


def test_heads_and_cells_agree() -> None:
    from gpubench.report.build import run_view

    view = run_view(*engine_run())
    assert view.atlas is not None
    table = view.atlas.table
    assert all(len(row) == len(table.heads) for row in table.rows)
    first = dict(zip(table.heads, table.rows[0], strict=True))
    assert first["Heuristic's pick"].link is not None
    assert first["Regret, any workspace"].text.endswith(" %")
    assert "; " in first["Notes and workspace"].text
    assert int(first["Could not run"].text) > 3


def test_every_link_of_the_atlas_leads_to_a_case() -> None:
    from gpubench.report.build import run_view

    view = run_view(*engine_run())
    assert view.atlas is not None
    anchors = {row.anchor for row in view.rows}
    links = [c.link for row in view.atlas.table.rows for c in row if c.link]
    assert links
    assert {link.anchor for link in links} <= anchors
    for trace in view.atlas.figure.spec["data"]:
        assert trace["customdata"]
        assert set(trace["customdata"]) <= anchors
    engines, fastest, picks = (t for t in view.atlas.figure.spec["data"])
    assert len(fastest["x"]) == len(picks["x"]) == len(view.atlas.table.rows)
    assert set(fastest["customdata"]) <= set(engines["customdata"])


def test_a_run_without_engines_has_no_atlas(cpu) -> None:
    from gpubench.report.build import run_view

    assert run_view(*cpu).atlas is None
    assert 'id="engines"' not in text([cpu])
