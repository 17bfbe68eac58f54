"""PaSST on torch: audio samples at 32 kHz in, AudioSet logits and 768-wide embeddings out.

Nothing here knows of Ray, of corpora or of tables; importing a module needs only torch and
torchaudio. `README.md` in this folder says which file to read first.
"""
