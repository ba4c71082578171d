"""Reports: a frozen view model, figures, templates."""
