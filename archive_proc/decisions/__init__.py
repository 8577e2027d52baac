"""Human decisions: overrides and header corrections, parsed, validated, and their effect. Pure."""
