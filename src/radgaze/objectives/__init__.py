"""The objective of training: the triangle of gaze, mask and heatmap, and the distances along its edges."""
