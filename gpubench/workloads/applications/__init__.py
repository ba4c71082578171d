"""Applications of the source article as workloads: dialogue, a stream of texts, ranking.

The time of a call is what a user of the application waits for; what else matters of it (first
token, percentiles under load, candidates a second) is in the facts of the record.
"""
