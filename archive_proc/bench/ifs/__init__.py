"""`bench accuracy ifs`: products beside simulated truth, and beside two reductions that share no code with recipes."""
