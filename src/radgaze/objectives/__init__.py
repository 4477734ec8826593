"""What is learned: the triangle of gaze, mask and heatmap, and the distances along its edges."""
