"""Plans become work: worker, executor, clusters, driver lock, events."""
