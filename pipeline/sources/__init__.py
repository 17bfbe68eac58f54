"""Turns the sources that a user names into a listing of clips and containers, format by format."""
