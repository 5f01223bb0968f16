"""The manual pages and the shells' completions, made from the commands and the configuration's own schema."""
