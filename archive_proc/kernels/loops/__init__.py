"""Loops over pixels that numba compiles: one pass over the memory where numpy would need ten temporaries.

Imported inside the functions that call them: planning reads the recipes without paying for numba.
"""
