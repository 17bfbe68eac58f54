"""From what a person has to clips: one class a format, all behind `listing.Source`."""
