"""The paper's experiments for several seeds: planned, run here or on a cluster, and shown in tables."""
