"""What a person or a scheduler starts: the command line, and the runs behind it.

- `cli`: the `passtream` command; `config`: its settings, from options and YAML.
- `embed`: one run, from the settings to an exit code.
- `models`: `passtream models`; `fetchbar`: the progress of a download.
- `local`: the run's shards in this process; `cluster`, `connect` and `actor`: the same on Ray.
- `routing`: which archs a run embeds with, and the weights of each.
- `model`: the model that a process of a run holds; `stop`: being told to stop.
- `bench`: `passtream bench`; `bench_model`, `bench_feed`, `bench_plan` and `race` are how.
- `monitor`: progress for people; `verify`: the check; `demo`: the tour behind `make demo`.

Ray is imported here and nowhere else.
"""
