"""Documents: pages of print, drawings and photographs."""
