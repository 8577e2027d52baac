"""The integral-field spectrograph: raw nights in the modes YJ and YH with known truth (notes/ifs.md sections 1, 2, 10).

Optics, geometry and detector are this package's own; nothing is shared with kernels or recipes.
"""
