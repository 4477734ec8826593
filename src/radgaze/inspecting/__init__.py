"""What a prepared store holds, counted and drawn, without any run."""
