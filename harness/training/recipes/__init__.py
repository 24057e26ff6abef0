"""The training recipes, one TOML file each."""
