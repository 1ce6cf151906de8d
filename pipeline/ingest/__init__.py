"""Ingestion of one shard (a file): read, convert, judge, encode, write. No TFX, no Beam."""
