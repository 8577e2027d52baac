"""What lies on disk: every path, raw pixels, Zarr products, seals, journals, Parquet tables."""
