"""The IFS recipes, one module each."""
