"""The paper's matrix, experiments times seeds: planned, run here or on a cluster, and written up."""
