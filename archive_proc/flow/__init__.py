"""The stages in order: understand, plan, run, publish."""
