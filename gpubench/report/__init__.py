"""Reports: a frozen view model, figures, templates.

``render.write`` and ``render.text`` make HTML, Markdown, CSV, JSON and Parquet;
``table.results_table`` is the table of the terminal.
"""
