"""Estimates of `passtream plan`: cost on devices and on cores, and the report."""
