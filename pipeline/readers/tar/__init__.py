"""Tars as recordings: headers, sparse members, links, samples."""
