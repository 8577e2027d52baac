"""Read-only SQL over the snapshot: views, named queries, selections."""
