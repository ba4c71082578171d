"""The static dashboard of tracking: an overview, a page a case, an Atom feed.

Charts are SVG made here, not scripts: a page of a case stays small when there are thousands,
and every page works from a file.
"""
