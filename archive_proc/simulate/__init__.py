"""Raw SPHERE nights with known truth, in true ESO format. Shares no kernel and no recipe."""
