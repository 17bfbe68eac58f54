"""Entry points that a person or a scheduler starts; the only package that imports Ray.

`README.md` in this folder describes the commands, their options and their exit codes.
"""
