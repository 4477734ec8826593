"""IRNet (Ahn, Cho and Kwak, CVPR 2019): boundaries learned from maps, and maps spread up to them."""
