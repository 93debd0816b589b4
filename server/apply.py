"""Being written now by the helper of task S-A: validation of configuration bundles, differences."""
