"""Whole steps of models: the workload ``model``.

``workload`` holds its parameters, ``assembly`` makes network and data
(``gpubench.model.adapting`` decides what is trained), ``step`` runs, ``phases`` says where a
step goes, ``counting`` what it takes, ``checking`` whether it is right, ``fitting`` which batch
fits.
"""
