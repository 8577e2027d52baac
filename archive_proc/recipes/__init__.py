"""Recipes: named, versioned, typed functions in passes. Pure: arrays in, arrays out."""
