"""EmbedConfig: options, YAML, saved settings, and the table spec that follows from them."""
