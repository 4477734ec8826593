"""The package from Python: what `import radgaze as rg` offers."""
