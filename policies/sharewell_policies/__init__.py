"""Permission: Cedar policies, their schema and their cases. There is no logic here, only files to read."""
