"""The campaign on a real SLURM: several faults a run, whatever dies, products equal those of an undisturbed run."""
