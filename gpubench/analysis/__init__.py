"""Analysis of records: derived results, their table, and the verdict on a run."""
