"""What a person or a scheduler starts; the only package that imports Ray.

`README.md` in this folder has the commands, their options and exit codes.
"""
