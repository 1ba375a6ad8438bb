"""Video: pictures whose prior looks at the frame before, and their sound."""
