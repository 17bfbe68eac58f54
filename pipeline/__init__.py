"""From a source of recordings to a committed Parquet table, in one process and without Ray.

    source ─▶ plan ─▶ decode ─▶ windows ─▶ packets ─▶ assemble ─▶ tables ─▶ commit
    ClipRef   Shard   PCM 32k   blocks     lists      rows        Parquet   record

- `sources`: files, and what manifests and standard input name, become `ClipRef`s, each with an id
  and a version; tars and Parquet files become `Container`s.
- `plan`: clips become `Shard`s whose ids are hashes of what they hold; so does each container.
- `recordings`: the clips of a shard and their bytes: of listed ones by `opening`, `remote_opening`
  and `prefetch`, of containers by `containers`, `tar_reader` and `parquet_reader`.
- `decode`: one file becomes mono PCM at 32 kHz, in pieces: by `decoders`, `ffmpeg`, `cutting` and
  `tape` (of parts), `resample` and `quality`.
- `promised`, `chunks`, `mpeg`, `ogg`: how much audio a file says it has, to find damage by; of an
  MP3 that does not say, `mpeg_walk` counts the frames, and `endless` has all of them decoded.
- `windows`: pieces become `WindowBlock`s; the only place that knows window arithmetic.
- `spec`: what a table is made with, and so which model a clip goes through.
- `events`, `packets`: the decode side of a shard as one stream of events, errors among them.
- `assemble`: the model side: events become embeddings, and these rows, by `clip_rows`.
- `rows`, `rowfile`, `schema`: rows become files, by row groups where a clip has many.
- `table`: the names of the files, and by `commits` the records that make them count.
- `store`, `stores`: where they lie: `local_store`, or `remote_store` over fsspec, whose parts are
  `storage`, `redaction`, `remote_client`, `remote_file`, `upload`, `exclusive` and `lease`.
- `carried`: what a manifest says of its clips, compared with the rows and updated in them.
- `shard`: those three steps for one shard; `stages` times them, `shared_model` lets several shards
  ask one model.
- `run_state`, `run_status`, `processes`: what a run leaves in its table about itself, and how far
  it is, told from the table alone; `strict_json` reads the records.
- `verify`, `check_rows`: everything is read back, into a `report`.

Nothing here imports Ray, and the modules up to `packets` import no torch either: decode workers
start fast and stay small. The model comes in through the `model.Model` protocol.
"""
