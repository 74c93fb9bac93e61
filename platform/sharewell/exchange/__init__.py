"""Published formats, in and out: bytes become checked values, or a refusal that names row and column."""
