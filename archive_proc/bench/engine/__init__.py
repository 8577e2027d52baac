"""What the engine itself costs: stand-in processes in place of science (notes/engine 7)."""
