"""Analysis of records: tables and verdicts."""
