"""PaSST on torch: audio samples at 32 kHz in, AudioSet logits and 768-wide embeddings out.

What to read, in the order of the data:

- `models.archs`: one frozen `ArchSpec` per published checkpoint (strides, grid, hop, classes).
- `models.preprocess`: `AugmentMelSTFT`, samples to a log-mel spectrogram, always fp32.
- `models.passt`: `PaSST`, spectrograms to logits and features; `models.blocks` is what it is
  built of, `models.attention` and `models.linear` what it computes with, `models.patchout` what
  training drops.
- `models.packing`: windows of any lengths to packs for one forward, nothing padded;
  `models.window_pack` is where each lies in one.
- `models.staging`: packs on their way to a GPU, copied while it computes.
- `models.engine`: all of that for many windows; `models.fixed` records it for full ones,
  `models.batch_size` finds how many a GPU takes at a time, `models.matmul` sets TF32 or not.
- `models.timestamps`, `models.moments`: what a HEAR timestamp is made of, and embedding many.
- `models.embedder`: `Embedder`, arrays in and arrays out, as the pipeline takes it; in any of
  `models.precision`, whose cost `models.fidelity` measures; `models.outputs` is what comes out.
- `models.wrapper`: `PasstWrapper`, waves in and HEAR embeddings out; `models.audio` is what it
  refuses, `models.factory` makes it by name, and `models.hear` holds the modules of that challenge.
- `models.weights`: state dicts: where they come from, how they are checked, their digest.
- `models.published`: the checkpoints, from a model store, the cache or the network.
- `models.store`: folders and URIs that keep them, each with its sha256; `models.pull` fills them.
- `models.labels`: logits to the names of the most probable classes.

Nothing here knows of Ray, of corpora or of tables; importing a module needs only torch and
torchaudio.
"""
