"""PaSST on torch: audio samples at 32 kHz in, AudioSet logits and 768-wide embeddings out.

What to read, in the order of the data:

- `models.archs`: one frozen `ArchSpec` per published checkpoint (strides, grid, hop, classes).
- `models.preprocess`: `AugmentMelSTFT`, samples to a log-mel spectrogram, always fp32.
- `models.passt`: `PaSST`, a spectrogram to logits and features.
- `models.embedder`: `Embedder`, a list of windows of any lengths to arrays, batched exactly.
- `models.weights`: state dicts: where they come from, how they are checked, their digest.
- `models.published`: the checkpoints, from a model store, the cache or the network.
- `models.store`: folders and URIs that keep them, each with its sha256; `models.pull` fills them.
- `models.labels`: logits to the names of the most probable classes.

Nothing here knows of Ray, of corpora or of tables; importing a module needs only torch,
torchaudio and timm.
"""
