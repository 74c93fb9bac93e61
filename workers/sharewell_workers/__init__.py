"""What happens when nobody asks: ingest, forecast, allocate, seal."""
