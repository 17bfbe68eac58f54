"""What a person or a scheduler starts: the command line, and the runs behind it.

- `cli`: the `passtream` command; `config`: its settings, which `configure` makes of options and
  YAML, and `values` of the texts in these.
- `embed`: one run, from the settings to an exit code; `table_spec`: what they say of the table.
- `reprocess`: what of a table a source still holds good; `retry` and `settings_note`: the last
  run's settings once more; `start`: from options to a run.
- `plan`: what a run would have to do; `plan_command`, `plan_report` and `plan_text` ask and tell
  it, `figures` and `costs` are what it takes of devices, `core_figures` and `decode_cost` of cores.
- `models`: `passtream models`; `fetchbar`: the progress of a download.
- `local`: the run's shards in this process; `cluster`: the same on Ray. Of that `connect` starts or
  joins a Ray, by the settings of `local_ray` or after `ray_address` has found that one answers;
  `actor_plan` is the actors' size, `crew` the actors and `answers` what is asked of them; `fleet`
  (how many), `schedule` (who does what) and `work` (what a failure makes of it) decide, and know no
  Ray; `actor` and `decoding` run on its nodes; `metrics` and `reasons` tell of it.
- `command_line`: the arguments of this process, without credentials for `ps`.
- `submit`: `passtream submit` and `passtream job`; `submission` is what is sent, with the settings
  in `sent_config`, `job_client` to whom, `follow` the log to the job's end; `ray_job`: what a run
  does that Ray Jobs has started.
- `routing`: which archs a run embeds with, and the weights of each.
- `model`: the model that a process of a run holds, `routed` what it says; `stop`: being told
  to stop.
- `bench`: `passtream bench`; `bench_model`, `bench_feed`, `bench_plan`, `bench_overhead`,
  `bench_job`, `race` and `rival` are how, `bench_audio` makes recordings, `hollow` a decoder and a
  model that do nothing. `bench_model` runs by itself where there is a GPU and little else, with
  `model_cases`, `model_options`, `model_help` and `plain_wav`.
- `monitor`: progress for people; `run_note`: what a run leaves of itself, for `status`.
- `verify`: the check; `demo`: the tour behind `make demo`.

Ray is imported here and nowhere else.
"""
