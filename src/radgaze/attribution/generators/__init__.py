"""The heatmap generators, each written as its formula. Importing a module registers its generators."""
