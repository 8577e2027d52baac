"""SPHERE as validated tables: keywords, classification, association rules, product types, instrument constants."""
