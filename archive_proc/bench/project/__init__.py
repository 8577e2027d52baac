"""Projection of runs onto sites that are not at hand: measured costs, a discrete-event model, and its error."""
