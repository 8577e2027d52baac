"""The IRDIS recipes, one module each."""
