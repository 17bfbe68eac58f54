"""What a user names, turned into a listing of clips and containers; one module per format."""
