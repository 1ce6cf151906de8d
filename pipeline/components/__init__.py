"""Components for what TFX lacks: windowed columnar ingestion, gates that close, an atomic push."""
